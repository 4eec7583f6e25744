package provenance_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance"
)

var logKey, witnessKey = logtest.NewSigner("log.example/keys", 1, 1), logtest.NewSigner("w.example", 4, 3)

// trustFile is a trust file with all that there is.
func trustFile(t testing.TB) string {
	keys := trusted("alice", "bob", "ml-dsa-65")
	keys[0].PublicKey = string(keyfile.PEM(keyfile.KindPublic, spki("alice")))
	text, err := json.MarshalIndent(provenance.Trust{
		Signers: keys, Threshold: 2, Endpoints: []string{"https://relay.example:8443/base"}, Emulated: true, Receipts: relays("ed25519"),
		Log: &provenance.TrustedLog{Key: logKey.VKey + " " + logtest.NewSigner("log.example/keys", 6, 2).VKey, Witnesses: []provenance.TrustedWitness{{Name: "w", Key: witnessKey.VKey}}, Quorum: 1, MaxDelay: "24h"},
	}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestParseTrust: a trust file that may mean two things, or cannot be met, is refused.
func TestParseTrust(t *testing.T) {
	good := trustFile(t)
	trust, err := provenance.ParseTrust([]byte(good + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := json.MarshalIndent(trust, "", "\t"); err != nil || string(again) != good {
		t.Errorf("%s, %v", again, err)
	}
	bob, pem := trusted("bob")[0].PublicKey, trusted("alice")[0]
	private := string(must(json.Marshal(string(keyfile.PEM(keyfile.KindPrivate, must(keyfile.PrivateDER(made["alice"]())))))))
	alice := string(must(json.Marshal(string(keyfile.PEM(keyfile.KindPublic, spki("alice"))))))
	for name, change := range map[string]struct{ old, new, want string }{
		"unknown member":       {`"threshold"`, `"witness": 1, "threshold"`, `unknown field "witness"`},
		"member twice":         {`"threshold": 2`, `"threshold": 2, "threshold": 1`, `"threshold" is there twice`},
		"within a list":        {`"name": "bob"`, `"name": "bob", "name": "bob"`, `"name" is there twice`},
		"other case":           {`"threshold": 2`, `"Threshold": 2`, `the member "Threshold" is not in lower case`},
		"other letters":        {`"threshold": 2`, `"threſhold": 2`, `the member "threſhold" is not in lower case`},
		"null":                 {`"emulated": true`, `"emulated": null`, "null: leave the member out"},
		"something behind":     {"\n}", "\n}{}", "invalid character '{' after"},
		"no JSON":              {good, "threshold: 2", "invalid character"},
		"nothing":              {good, "", "unexpected end"},
		"an empty object":      {good, "{}", "the threshold is 0, and there are 0 signers"},
		"a list":               {good, "[]", "it is a JSON array, not an object"},
		"deep":                 {good, strings.Repeat("[", 100_000), "exceeded max depth"},
		"too large":            {good, strings.Repeat(" ", 1<<20) + good, "too many"},
		"another kind":         {`"threshold": 2`, `"threshold": 2.5`, `the member "threshold" cannot be a JSON number 2.5`},
		"no list":              {`"endpoints": [`, `"endpoints": [[],`, `cannot be a JSON array`},
		"no threshold":         {`"threshold": 2`, `"threshold": 0`, "the threshold is 0, and there are 3 signers"},
		"too high a threshold": {`"threshold": 2`, `"threshold": 4`, "the threshold is 4, and there are 3 signers"},
		"two keys of a person": {`"name": "bob"`, `"name": "ml-dsa-65"`, ""},
		"too few people":       {`"threshold": 2,`, `"threshold": 3,`, ""},
		"two names, one key":   {bob, pem.PublicKey, `"alice" and "bob" have the same key`},
		"no name":              {`"name": "bob"`, `"name": ""`, `"" is not a name`},
		"a name of two lines":  {`"name": "bob"`, `"name": "bob\nalice"`, "is not a name"},
		"a private key":        {alice, private, `the public_key of "alice" is neither one PEM block of type PUBLIC KEY nor base64`},
		"a private key in DER": {bob, base64.StdEncoding.EncodeToString(must(keyfile.PrivateDER(made["bob"]()))), "not a public key that is known here"},
		"two keys in PEM":      {alice, alice[:len(alice)-1] + alice[1:], "neither one PEM block"},
		"no key":               {`"public_key": "` + bob, `"public_key": "`, "neither one PEM block"},
		"no key in base64":     {bob, "AAAA", "not a public key that is known here"},
		"plain HTTP":           {"https://relay", "http://relay", "is not the base URL"},
		"a slash":              {"/base", "/base/", "no slash at the end"},
		"two lines":            {"/base", "/base\\nx", "is not the base URL"},
		"a user":               {"https://relay", "https://user:secret@relay", "is not the base URL"},
		"a query":              {"/base", "/base?x", "is not the base URL"},
		"a space":              {"/base", "/b ase", "is not the base URL"},
		"no host":              {"https://relay", "https://:1/relay", "is not the base URL"},
		"a relay's key":        {"MCowBQYDK2VwAyEA" + trusted("ed25519")[0].PublicKey[16:], "AAAA", "the key of a relay's receipts: the public_key of"},
		"no witness's name":    {`"name": "w"`, `"name": ""`, `"" is not the name of a witness`},
		"no witness's key":     {witnessKey.VKey, "", `the log: "" is not a verifier key`},
		"a damaged key":        {"w.example+", "v.example+", "is damaged"},
		"a log's key":          {witnessKey.VKey, logtest.NewSigner("w.example", 1, 3).VKey, "of a witness has type 4 or 6"},
		"two names of one":     {`"name": "w",`, `"name": "v", "key": "` + logtest.NewSigner("w.example", 6, 4).VKey + `"}, {"name": "w",`, "a witness has one name and one key"},
		"one name of two":      {`"name": "w",`, `"name": "w", "key": "` + logtest.NewSigner("v.example", 6, 4).VKey + `"}, {"name": "w",`, "a witness has one name and one key"},
		"another log's key":    {logKey.VKey, logtest.NewSigner("log.example/2", 1, 4).VKey, "the keys of a log have one name"},
		"a negative quorum":    {`"quorum": 1`, `"quorum": -1`, "a quorum of -1"},
		"a delay of zero":      {`"24h"`, `"0s"`, `max_delay is "0s"`},
		"a short delay":        {`"24h"`, `"1ns"`, ""},
		"no key of the log":    {logKey.VKey + " " + logtest.NewSigner("log.example/keys", 6, 2).VKey, "", "the log: a policy needs the log's key"},
		"no quorum":            {`"quorum": 1`, `"quorum": 0`, "a quorum of 0 does not fit 1 witnesses"},
		"too large a quorum":   {`"quorum": 1`, `"quorum": 2`, "a quorum of 2 does not fit 1 witnesses"},
		"a delay":              {`"24h"`, `"1 day"`, `max_delay is "1 day"`},
		"no delay":             {`"24h"`, `"-1h"`, `max_delay is "-1h"`},
	} {
		if !strings.Contains(good, change.old) {
			t.Fatalf("%s: no %s in %s", name, change.old, good)
		}
		got, err := provenance.ParseTrust([]byte(strings.Replace(good, change.old, change.new, 1)))
		if change.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if change.want != "" && (err == nil || !strings.Contains(err.Error(), change.want) || !reflect.ValueOf(got).IsZero()) {
			t.Errorf("%s: %v, want %q", name, err, change.want)
		}
		if err != nil && (len(err.Error()) > 500 || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: an error of %d bytes: %v", name, len(err.Error()), err)
		}
	}
	same := strings.Replace(strings.Replace(good, `"name": "bob"`, `"name": "alice"`, 1), `"threshold": 2`, `"threshold": 3`, 1)
	for range 20 { // in any order of the map
		if _, err := provenance.ParseTrust([]byte(same)); err == nil || !strings.Contains(err.Error(), "the threshold is 3, and there are 2 signers") {
			t.Errorf("3 keys of 2 people: %v", err)
		}
	}
}

// TestParseCeremony: a ceremony is read from a file that a person wrote.
func TestParseCeremony(t *testing.T) {
	id := provenance.Digest(nil)
	good := `{"id": "2026-1", "place": "Genève", "script_sha256": "` + id + `", "operators": [{"name": "Alice", "keyid": "` + id + `"}], "witnesses": ["Bob"]}`
	c, err := provenance.ParseCeremony([]byte(good))
	if err != nil || c.Operators[0].Name != "Alice" || c.Witnesses[0] != "Bob" || c.Place != "Genève" {
		t.Fatal(c, err)
	}
	for want, change := range map[string][2]string{
		"it has no id":               {`"2026-1"`, `""`},
		"is there twice":             {`"id"`, `"id": "1", "id"`},
		`unknown field "date"`:       {`"id"`, `"date": "1", "id"`},
		"script_sha256 is not":       {id, "00"},
		"the keyid of operator":      {`"keyid": "` + id, `"keyid": "`},
		"or is that of another":      {`"operators": [`, `"operators": [{"name": "Carol", "keyid": "` + id + `"}, `},
		"or witness has no name":     {`["Bob"]`, `["Bob", ""]`},
		"an operator or witness has": {`"Alice"`, `""`},
		"not text of one line":       {"Bob", `\u001b[1A`},
		"more than 32 operators or ": {`"Bob"`, strings.Repeat(`"Bob", `, 32) + `"Bob"`},
	} {
		if !strings.Contains(good, change[0]) {
			t.Fatalf("no %s", change[0])
		}
		if _, err := provenance.ParseCeremony([]byte(strings.Replace(good, change[0], change[1], 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// FuzzParseTrust: what is read means the same when it is written and read again.
func FuzzParseTrust(f *testing.F) {
	f.Add([]byte(trustFile(f)))
	f.Add([]byte(`{"signers":[{"name":"a","public_key":"` + trusted("alice")[0].PublicKey + `"}],"threshold":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		trust, err := provenance.ParseTrust(data)
		if err != nil {
			return
		}
		again, err := provenance.ParseTrust(must(json.Marshal(trust)))
		if err != nil || trust.Threshold != again.Threshold || !reflect.DeepEqual(trust.Signers, again.Signers) || !reflect.DeepEqual(trust.Log, again.Log) {
			t.Errorf("%q is read again as %+v, %v", data, again, err)
		}
	})
}
