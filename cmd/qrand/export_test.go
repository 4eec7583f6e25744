package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/qrypttest"
)

// cyclonedx compiles the official schema, which is in the module of the CycloneDX project (Apache
// License 2.0).
func cyclonedx(t *testing.T) *jsonschema.Schema {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to find the schema of CycloneDX with")
	}
	out, err := exec.CommandContext(t.Context(), goTool, "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skip("the module github.com/CycloneDX/cyclonedx-go, which has the schema, is not on this machine: ", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(loader{dir + "/schema/"})
	return c.MustCompile("http://cyclonedx.org/schema/bom-1.6.schema.json")
}

// A loader loads the schemas of a folder.
type loader struct{ dir string }

func (l loader) Load(url string) (any, error) {
	name := strings.TrimPrefix(url, "http://cyclonedx.org/schema/")
	if name == "jsf-0.82.schema.json" {
		name = "jsf-0.82.schemax.json" // as the module calls it
	}
	f, err := os.Open(l.dir + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// TestInventory: the inventory of keys for all algorithms, with and without statements and
// proofs, is valid against the official schema.
func TestInventory(t *testing.T) {
	schema := cyclonedx(t)
	serve(t, qrypttest.Config{Rate: -1})
	log := logtest.NewServer()
	defer log.Close()
	token := t.TempDir() + "/token"
	if err := os.WriteFile(token, []byte(log.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	alice, _ := person(t, "alice", "ed25519")
	args := []string{"record", "export"}
	for i, a := range quick() {
		made := []string{a.name, "-o", "DIR/a key: 100%", "--format", a.formats[i%len(a.formats)]}
		if i%2 == 0 {
			made = append(made, "--sign-with", alice)
		}
		if i%4 == 0 && !strings.HasPrefix(a.name, "slh-dsa-") { // which may be too large for a log
			made = append(made, "--log", log.URL, "--log-token-file", token)
		}
		args = append(args, keygenIn(t, made...)+"/a key: 100%")
	}
	export := func(args []string) string {
		t.Helper()
		c, out, errs := screen(false, nil)
		if status := execute(t.Context(), args, c); status != exitOK {
			t.Fatalf("status %d: %s", status, errs)
		}
		return out.String()
	}
	got := export(args)
	valid := func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	if err := valid(got); err != nil {
		t.Error(err)
	}
	if n := strings.Count(got, `"bom-ref": "key:`); n != len(args)-2 {
		t.Errorf("%d keys, want %d", n, len(args)-2)
	}
	for _, change := range [][2]string{
		{`"cryptographic-asset"`, `"key"`}, {`"related-crypto-material"`, `"material"`}, {`"public-key"`, `"keys"`}, {`"primitive": "signature"`, `"primitive": "signing"`},
		{`"creationDate": "20`, `"creationDate": "`}, {`"size": `, `"bits": `}, {`"attestation"`, `"statement"`}, {`"alg": "SHA-256"`, `"alg": "sha256"`},
	} {
		changed := strings.Replace(got, change[0], change[1], 1)
		if changed == got || valid(changed) == nil {
			t.Errorf("%s for %s: valid, or not there", change[1], change[0])
		}
	}
	slices.Reverse(args[2:])
	if again := export(args); again != got {
		t.Error("in another order, the inventory is another one")
	}
}

// TestAlgorithmComponent: what an inventory says of each kind of algorithm.
func TestAlgorithmComponent(t *testing.T) {
	for name, want := range map[string]string{
		"ed25519": "signature,,Ed25519,0", "ed448": "signature,,Ed448,0", "ecdsa-p521": "signature,,P-521,0", "rsa-3072": "signature,3072,,0",
		"x25519": "key-agree,,Curve25519,0", "ecdh-p256": "key-agree,,P-256,0", "x-wing": "kem,,,",
		"ml-dsa-44": "signature,44,,2", "ml-dsa-65": "signature,65,,3", "ml-dsa-87": "signature,87,,5",
		"ml-kem-512": "kem,512,,1", "ml-kem-768": "kem,768,,3", "ml-kem-1024": "kem,1024,,5",
		"slh-dsa-sha2-128s": "signature,SHA2-128s,,1", "slh-dsa-shake-192f": "signature,SHAKE-192f,,3", "slh-dsa-sha2-256f": "signature,SHA2-256f,,5",
		"of-the-future-1": "unknown,,,",
	} {
		p := algorithmComponent(name).CryptoProperties.AlgorithmProperties
		got := string(p.Primitive) + "," + p.ParameterSetIdentifier + "," + p.Curve + ","
		if p.NistQuantumSecurityLevel != nil {
			got += string(rune('0' + *p.NistQuantumSecurityLevel))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, a := range algorithms() {
		if p := algorithmComponent(a.name).CryptoProperties.AlgorithmProperties; p.Primitive == "" || a.name != "x-wing" && p.ParameterSetIdentifier == "" && p.Curve == "" {
			t.Errorf("%s: %+v", a.name, p)
		}
	}
}
