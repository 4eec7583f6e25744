package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxFile        = 16 << 20
	maxRate        = 1 << 20
	maxBandwidth   = 128 << 20 // a window's worth is an int on every machine
	maxQuotaPeriod = 366 * 24 * time.Hour
)

// An entry of the list is a client, and the hash of its token if it has one.
type entry struct {
	Client
	hash [sha256.Size]byte
}

// A fileClient is an entry as it is written.
type fileClient struct {
	Name        string     `json:"name"`
	TokenSHA256 string     `json:"token_sha256,omitempty"`
	Certificate string     `json:"certificate,omitempty"`
	Created     string     `json:"created,omitempty"`
	Expires     string     `json:"expires,omitempty"`
	Rate        *int       `json:"rate,omitempty"`
	Bandwidth   *int64     `json:"bandwidth,omitempty"`
	Quota       *fileQuota `json:"quota,omitempty"`
	Operator    bool       `json:"operator,omitempty"`
}

type fileQuota struct {
	Bytes  int64  `json:"bytes"`
	Period string `json:"period"`
}

func readEntries(path string) ([]entry, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, data)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return nil, fmt.Errorf("relay: there is no list of clients in %s: qrand relay token new makes it, with a first client (%w)", path, os.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("relay: the list of clients: %w", err)
	case !info.Mode().IsRegular(): // a pipe would keep us waiting
		return nil, fmt.Errorf("relay: %s is not a regular file: name the file with the list of clients", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("relay: %s has more than %d bytes: is it the list of clients?", path, maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("relay: the list of clients: %w", err)
	}
	return data, nil
}

// parse reads a list. It is strict, because what it ignored could be a limit that
// somebody meant to set: "quotas", or a second "rate".
func parse(path string, data []byte) ([]entry, error) {
	raw, err := splitClients(data)
	if err != nil {
		return nil, fmt.Errorf("relay: %s: %w", path, err)
	}
	entries := make([]entry, 0, len(raw))
	names, hashes, certificates := map[string]bool{}, map[[sha256.Size]byte]string{}, map[string]string{}
	for i, r := range raw {
		if bytes.Contains(r, []byte(tokenPrefix)) { // the error quotes nothing of it
			return nil, fmt.Errorf("relay: %s: client number %d has a token in it, which belongs in no file: qrand relay token new writes its SHA-256", path, i+1)
		}
		var f fileClient
		err := decodeStrictly(r, &f)
		var e entry
		if err == nil {
			e, err = f.entry()
		}
		if err == nil {
			switch {
			case names[e.Name]:
				err = errors.New("there are two of this name: give each client a name of its own")
			case e.Certificate == "" && hashes[e.hash] != "":
				err = fmt.Errorf("it has the token of %s: make one for each with qrand relay token new", hashes[e.hash])
			case e.Certificate != "" && certificates[e.Certificate] != "":
				err = fmt.Errorf("it has the certificate of %s: a certificate is one client's", certificates[e.Certificate])
			}
		}
		if err != nil {
			return nil, fmt.Errorf("relay: %s: client %s: %w", path, f.label(i), err)
		}
		entries = append(entries, e)
		names[e.Name] = true
		if e.Certificate != "" {
			certificates[e.Certificate] = e.Name
		} else {
			hashes[e.hash] = e.Name
		}
	}
	return entries, nil
}

// label is an entry's name in an error, or its number if it has none.
func (f *fileClient) label(i int) string {
	if namePattern().MatchString(f.Name) {
		return fmt.Sprintf("%q", f.Name)
	}
	return fmt.Sprintf("number %d", i+1)
}

var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`) })

func (f *fileClient) entry() (e entry, err error) {
	e.Client = Client{Name: f.Name, Certificate: f.Certificate, Rate: defaultRate, Bandwidth: defaultBandwidth, Operator: f.Operator}
	if !namePattern().MatchString(f.Name) {
		return e, errors.New(`"name" must be 1 to 64 letters, digits and ._- and begin with a letter or digit`)
	}
	switch hash, hexErr := hex.DecodeString(f.TokenSHA256); {
	case (f.TokenSHA256 == "") == (f.Certificate == ""):
		return e, errors.New(`want one of "token_sha256" and "certificate"`)
	case f.Certificate != "":
		if err := checkCertificateName(f.Certificate); err != nil {
			return e, err
		}
	case hexErr != nil || len(hash) != sha256.Size:
		return e, errors.New(`"token_sha256" must be the SHA-256 of the token in 64 hexadecimal digits, never the token itself`)
	default:
		e.hash = [sha256.Size]byte(hash)
	}
	if e.Created, err = parseTime("created", f.Created); err != nil {
		return e, err
	}
	if e.Expires, err = parseTime("expires", f.Expires); err != nil {
		return e, err
	}
	if f.Rate != nil {
		e.Rate = *f.Rate
		if e.Rate != noLimit && (e.Rate < 1 || e.Rate > maxRate) {
			return e, fmt.Errorf(`"rate" is %d: write how many requests in 10 s, at most %d, or -1 for no limit`, e.Rate, maxRate)
		}
	}
	if f.Bandwidth != nil {
		e.Bandwidth = *f.Bandwidth
		if e.Bandwidth != noLimit && (e.Bandwidth < 1 || e.Bandwidth > maxBandwidth) {
			return e, fmt.Errorf(`"bandwidth" is %d: write how many bytes a second, at most %d, or -1 for no limit`, e.Bandwidth, maxBandwidth)
		}
	}
	if f.Quota != nil {
		if e.Quota, err = f.Quota.quota(); err != nil {
			return e, err
		}
	}
	if f.Operator {
		if f.Bandwidth != nil || f.Quota != nil {
			return e, errors.New(`an operator gets no entropy: leave "bandwidth" and "quota" out, or make it two clients`)
		}
		e.Bandwidth = 0
	}
	return e, nil
}

func (q *fileQuota) quota() (Quota, error) {
	if q.Bytes < 1 {
		return Quota{}, fmt.Errorf(`"quota" has %d "bytes": write how many in a period, or leave "quota" out for no limit`, q.Bytes)
	}
	period, err := time.ParseDuration(q.Period)
	if err != nil || period < time.Second || period > maxQuotaPeriod {
		return Quota{}, fmt.Errorf(`"period" of "quota" must be written like 1h or 24h, from 1s to %s`, Quota{Period: maxQuotaPeriod}.PeriodString())
	}
	return Quota{q.Bytes, period}, nil
}

func checkCertificateName(name string) error {
	if len(name) > 253 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return errors.New(`"certificate" must be the DNS name in the certificate, or the common name if there is no DNS name`)
	}
	return nil
}

// parseTime reads a time after 1970, or the zero time from an empty text.
func parseTime(what, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Unix() <= 0 || t.UTC().Year() > 9999 {
		return time.Time{}, fmt.Errorf("%q must be a time after 1970, written like 2027-01-31T00:00:00Z", what)
	}
	return t.UTC(), nil
}

// splitClients takes {"clients": [...]} apart.
func splitClients(data []byte) ([]json.RawMessage, error) {
	const want = `want {"clients": [...]} and nothing else`
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: not JSON: %w", 1+bytes.Count(data[:syntax.Offset], []byte("\n")), err)
		}
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	for _, expected := range []json.Token{json.Delim('{'), "clients", json.Delim('[')} {
		if t, err := d.Token(); err != nil || t != expected {
			return nil, errors.New(want)
		}
	}
	var raw []json.RawMessage
	for d.More() {
		var r json.RawMessage
		if err := d.Decode(&r); err != nil {
			return nil, err
		}
		raw = append(raw, r)
	}
	for _, expected := range []json.Token{json.Delim(']'), json.Delim('}')} {
		if t, err := d.Token(); err != nil || t != expected {
			return nil, errors.New(want)
		}
	}
	return raw, nil
}

// decodeStrictly refuses what encoding/json accepts: members that it does not
// know, that come twice or in another case, and null or an empty text, which would
// be as if the member were absent.
func decodeStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		want := map[string]string{"string": "a text", "bool": "true or false", "int": "a whole number", "int64": "a whole number"}[kind.Type.String()]
		if want == "" {
			want = "an object"
		}
		what := "it"
		if kind.Field != "" {
			what = fmt.Sprintf("%q", kind.Field)
		}
		return fmt.Errorf("%s is a %s: it must be %s", what, kind.Value, want)
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return checkMembers(json.NewDecoder(bytes.NewReader(data)), "it")
}

func checkMembers(d *json.Decoder, what string) error {
	t, err := d.Token()
	switch {
	case err != nil:
		return err
	case t == nil, t == "":
		return fmt.Errorf("%s is empty: leave it out, or write what it is", what)
	case t != json.Delim('{'):
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fmt.Errorf("unknown field %q: write names in small letters", name)
		}
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := checkMembers(d, fmt.Sprintf("%q", name)); err != nil {
			return err
		}
	}
	if _, err = d.Token(); err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encode writes a list as parse reads it.
func encode(entries []entry) []byte {
	file := struct {
		Clients []fileClient `json:"clients"`
	}{[]fileClient{}}
	for _, e := range entries {
		f := fileClient{Name: e.Name, Certificate: e.Certificate, Created: formatTime(e.Created), Expires: formatTime(e.Expires), Rate: &e.Rate, Operator: e.Operator}
		if e.Certificate == "" {
			f.TokenSHA256 = hex.EncodeToString(e.hash[:])
		}
		if !e.Operator || e.Bandwidth != 0 { // parse refuses that of an operator
			f.Bandwidth = &e.Bandwidth
		}
		if e.Quota != (Quota{}) {
			f.Quota = &fileQuota{e.Quota.Bytes, e.Quota.PeriodString()}
		}
		file.Clients = append(file.Clients, f)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(file); err != nil {
		panic(err) // all of it can be JSON
	}
	return b.Bytes()
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
