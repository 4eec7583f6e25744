package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/version"
	"example.com/qrand/provenance"
)

func newRecordExportCommand(c *console) *cobra.Command {
	format := choice{"cyclonedx", []string{"cyclonedx"}}
	cmd := &cobra.Command{
		Use:   "export FILE...",
		Short: "Print an inventory of keys, and where their entropy came from",
		Long: `Prints an inventory of keys: a CBOM of CycloneDX 1.6, in JSON, from the statements
and records beside them. FILE is a file of a key, or what is beside it. A key that
is named more than once is in the inventory once, so keys/* is fine. No private
key is read. The public key in FILE.pub must be the one of the record.

No signature is verified, and the inventory says so: qrand verify --trust verifies
them. It has the SHA-256 of each file, so that it shows later if one was changed.

The same files give the same bytes. There is no serial number, and no time unless
SOURCE_DATE_EPOCH is set. docs/records.md describes each property.`,
		Example: `  qrand record export keys/* >keys.cdx.json`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "which keys? Name their files")
			}
			bom, err := inventory(args, os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			return cdx.NewBOMEncoder(c.out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
		},
	}
	addChoice(cmd, &format, "format", "how to write the inventory")
	return cmd
}

// inventory is what is known of the keys that have these files, sorted by their names.
func inventory(paths []string, epoch string) (*cdx.BOM, error) {
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json" // EncodeVersion makes applications of keys
	bom.Metadata = &cdx.Metadata{
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "qrand", Version: version.Get()}}},
		Properties: &[]cdx.Property{{Name: "qrand:verified", Value: "false"}},
	}
	if epoch != "" { // https://reproducible-builds.org/specs/source-date-epoch/
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 || seconds > 253402300799 { // the year 9999
			return nil, fmt.Errorf("SOURCE_DATE_EPOCH is %.100q: it must be seconds since 1970", epoch)
		}
		bom.Metadata.Timestamp = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	var stems []string
	for _, path := range paths {
		stem, err := stemOf(filepath.Clean(path))
		if err != nil {
			return nil, err
		}
		stems = append(stems, stem)
	}
	slices.Sort(stems)
	var keys, all []cdx.Component
	names := map[string]string{} // of keys, by bom-ref
	algorithms := map[string]cdx.Component{}
	for _, stem := range slices.Compact(stems) {
		key, record, err := keyComponent(stem)
		if err != nil {
			return nil, err
		}
		if other, ok := names[key.BOMRef]; ok {
			return nil, fmt.Errorf("%s and %s are the same key: name one of them", other, stem)
		}
		names[key.BOMRef] = stem
		keys = append(keys, key)
		a := algorithmComponent(record.Algorithm)
		algorithms[a.BOMRef] = a
	}
	for _, a := range algorithms {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	all = append(all, keys...)
	bom.Components = &all
	return bom, nil
}

// besides are the endings of files that are beside a private key.
var besides = []string{statementSuffix, recordSuffix, proofSuffix, ".pub", ".crt", ".csr"}

// stemOf returns the name of the key that a file is of, or beside.
func stemOf(path string) (string, error) {
	for _, suffix := range append([]string{""}, besides...) {
		stem, ok := strings.CutSuffix(path, suffix)
		if !ok {
			continue
		}
		for _, ending := range []string{statementSuffix, recordSuffix} {
			if _, err := os.Lstat(stem + ending); err == nil {
				return stem, nil
			}
		}
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no %s", path)
	}
	return "", fmt.Errorf("%s has neither a statement beside it, in %[1]s%s, nor a record", path, statementSuffix)
}

// keyComponent is what is known of one key.
func keyComponent(stem string) (key cdx.Component, record provenance.Record, err error) {
	var e provenance.Envelope
	var s provenance.Statement
	var references []cdx.ExternalReference
	refer := func(kind cdx.ExternalReferenceType, path, what string, data []byte) {
		references = append(references, cdx.ExternalReference{Type: kind, URL: (&url.URL{Path: filepath.ToSlash(path)}).String(), Comment: what,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: provenance.Digest(data)}}})
	}
	statement, err := readIfThere(stem + statementSuffix)
	if err != nil {
		return key, record, err
	}
	if statement != nil {
		if e, err = provenance.ParseEnvelope(statement); err == nil {
			s, err = e.Statement()
		}
		if err == nil {
			err = checkBeside(stem+statementSuffix, s.Record)
		}
		if err != nil {
			return key, record, fmt.Errorf("%s: %s", stem+statementSuffix, plain(err.Error()))
		}
		record = s.Record
		refer(cdx.ERTypeAttestation, stem+statementSuffix, "the statement, an in-toto Statement in a DSSE envelope", statement)
	}
	text, err := readIfThere(stem + recordSuffix)
	if err != nil {
		return key, record, err
	}
	if text != nil {
		if record, err = provenance.Parse(text); err != nil {
			return key, record, fmt.Errorf("%s: %s", stem+recordSuffix, plain(err.Error()))
		}
		refer(cdx.ERTypeEvidence, stem+recordSuffix, "the record", text)
	}
	material := &cdx.RelatedCryptoMaterialProperties{
		Type: cdx.RelatedCryptoMaterialTypePublicKey, ID: record.PublicKey, AlgorithmRef: cdx.BOMReference(algorithmRef(record.Algorithm)),
		CreationDate: record.Time.Format(time.RFC3339Nano),
	}
	if material.Size, material.Format, err = readPublic(stem+".pub", record); err != nil {
		return key, record, err
	}
	var properties []cdx.Property
	add := func(name, value string) {
		if value != "" {
			properties = append(properties, cdx.Property{Name: "qrand:" + name, Value: value})
		}
	}
	add("entropy", string(record.Entropy))
	add("bytes", strconv.FormatInt(record.Bytes, 10))
	add("blocks", strconv.FormatInt(record.Blocks, 10))
	for _, f := range record.Fingerprints {
		add("fingerprint", f)
	}
	add("endpoint", record.Endpoint)
	add("endpoint_certificate_sha256", record.EndpointCertificate)
	add("endpoint_public_key_sha256", record.EndpointPublicKey)
	if record.Blocks > 0 {
		add("last_received", record.LastReceived.Format(time.RFC3339Nano))
	}
	add("state", record.State.String())
	add("reason", string(record.Reason))
	add("mix", record.Mix.String())
	add("policy", record.Policy.String())
	if c := record.Certificate; c != nil {
		add(c.Kind+"_sha256", c.SHA256)
	}
	add("software", record.Software)
	add("go_version", record.GoVersion)
	add("record_version", strconv.Itoa(record.Version))
	if statement != nil {
		add("statement_sha256", provenance.Digest(statement))
		add("self_signed", strconv.FormatBool(s.SelfSigned))
		for _, g := range e.Signatures {
			add("signed_by", g.KeyID)
		}
		if s.Ceremony != nil {
			add("ceremony", s.Ceremony.ID)
		}
		add("receipts", strconv.Itoa(len(s.Receipts)))
		proof, err := readProof(stem+statementSuffix, statement)
		if err != nil {
			return key, record, err
		}
		if proof != nil {
			c, err := proof.Includes(statement)
			if err != nil {
				return key, record, err
			}
			add("log", c.Origin)
			add("log_index", strconv.FormatInt(proof.Index, 10))
			refer(cdx.ERTypeEvidence, stem+proofSuffix, "the proof that the statement is in the log", proof.Encode()) // the bytes of the file
		}
	}
	key = cdx.Component{
		BOMRef: "key:" + record.PublicKey, Type: cdx.ComponentTypeCryptographicAsset, Name: filepath.Base(stem),
		CryptoProperties:   &cdx.CryptoProperties{AssetType: cdx.CryptoAssetTypeRelatedCryptoMaterial, RelatedCryptoMaterialProperties: material},
		ExternalReferences: &references, Properties: &properties,
	}
	if record.Entropy == provenance.Emulated {
		key.Description = "The entropy was EMULATED, not quantum: the key is for rehearsals only."
	}
	return key, record, nil
}

// readPublic reads a public key that is the one of the record, and returns its size in bits
// and its format. If there is none, both are zero.
func readPublic(path string, record provenance.Record) (bits *int, format string, err error) {
	data, err := readIfThere(path)
	if data == nil {
		return nil, "", err
	}
	key, err := new(verifyOptions).readKey(nil, path, record.Algorithm)
	if err == nil && key.Kind != keyfile.KindPublic {
		err = fmt.Errorf("%s is a %v, and no public key", path, key.Kind)
	}
	if err == nil {
		if err = record.Check(key.SPKI); err != nil {
			err = fmt.Errorf("%s: %s", path, plain(err.Error()))
		}
	}
	if err != nil {
		return nil, "", err
	}
	size := 0
	if family, set := splitName(record.Algorithm); strings.HasSuffix(family, "-p") || family == "rsa-" {
		size, _ = strconv.Atoi(set)
	} else if raw, err := keyfile.PublicRaw(key.Public); err == nil {
		size = 8 * len(raw)
	}
	switch {
	case bytes.Equal(data, key.SPKI):
		format = "DER"
	case bytes.HasPrefix(data, []byte("-----BEGIN ")):
		format = "PEM"
	case bytes.HasPrefix(data, []byte("{")):
		format = "JWK"
	case bytes.Contains(data, []byte("ssh-")), bytes.HasPrefix(data, []byte("ecdsa-sha2-")):
		format = "OpenSSH"
	case bytes.HasPrefix(data, []byte("age1")):
		format = "age"
	case record.Algorithm == "x25519" && len(data) > size/8:
		format = "WireGuard"
	default:
		format = "raw"
	}
	return &size, format, nil
}

func algorithmRef(name string) string { return "algorithm:" + name }

// splitName splits the name of an algorithm before its first digit.
func splitName(name string) (family, set string) {
	i := strings.IndexAny(name+"0", "0123456789")
	return name[:i], name[i:]
}

// algorithmComponent is what keys for an algorithm refer to.
func algorithmComponent(name string) cdx.Component {
	p := &cdx.CryptoAlgorithmProperties{Primitive: cdx.CryptoPrimitiveUnknown}
	if a, err := findAlgorithm(name); err == nil {
		p.Primitive = map[string]cdx.CryptoPrimitive{forSigning: cdx.CryptoPrimitiveSignature, forAgreement: cdx.CryptoPrimitiveKeyAgree, forKEM: cdx.CryptoPrimitiveKEM}[a.use]
	}
	category := 0 // none: quantum computers break it
	switch family, set := splitName(name); family {
	case "rsa-":
		p.ParameterSetIdentifier = set
	case "ed":
		p.Curve = "Ed" + set
	case "x":
		p.Curve = "Curve" + set
	case "ecdsa-p", "ecdh-p":
		p.Curve = "P-" + set
	case "ml-dsa-": // FIPS 204 section 4
		p.ParameterSetIdentifier, category = set, map[string]int{"44": 2, "65": 3, "87": 5}[set]
	case "ml-kem-": // FIPS 203 section 8
		p.ParameterSetIdentifier, category = set, map[string]int{"512": 1, "768": 3, "1024": 5}[set]
	case "slh-dsa-sha", "slh-dsa-shake-": // FIPS 205 section 11
		p.ParameterSetIdentifier = strings.NewReplacer("sha2", "SHA2", "shake", "SHAKE").Replace(strings.TrimPrefix(name, "slh-dsa-"))
		category = map[string]int{"128": 1, "192": 3, "256": 5}[name[len(name)-4:len(name)-1]]
	}
	if p.Primitive != cdx.CryptoPrimitiveUnknown && name != "x-wing" { // no standard has a category of that
		p.NistQuantumSecurityLevel = &category
	}
	return cdx.Component{BOMRef: algorithmRef(name), Type: cdx.ComponentTypeCryptographicAsset, Name: name,
		CryptoProperties: &cdx.CryptoProperties{AssetType: cdx.CryptoAssetTypeAlgorithm, AlgorithmProperties: p}}
}
