package provenance_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/provenance"
)

// TestVerifyEntry: an entry of a log, which has no key beside it, says that the signature of
// the key itself was not verified, and is refused for all other causes.
func TestVerifyEntry(t *testing.T) {
	trust := provenance.Trust{Signers: trusted("alice", "bob"), Threshold: 2}
	s := fullStatement("ecdsa-p384")
	good := signed(t, s, "alice", "bob")
	r, err := trust.VerifyEntry(good, keyMade)
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Open, "the signature of the key itself was not verified")
	if got := lines(r); strings.Contains(got, "possession follows") || strings.Contains(got, "\nlog ") || r.Statement.Record.PublicKey != s.Record.PublicKey {
		t.Error(got)
	}
	unsigned := s
	unsigned.SelfSigned = false
	if r, err = trust.VerifyEntry(signed(t, unsigned, "alice", "bob"), keyMade); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Open, "the key itself did not sign it")
	// with replaces a signature by that of another key, or by none.
	with := func(of string, by ...provenance.Signature) provenance.Envelope {
		e := good
		e.Signatures = slices.DeleteFunc(slices.Clone(e.Signatures), func(g provenance.Signature) bool { return g.KeyID == provenance.Digest(spki(of)) })
		e.Signatures = append(e.Signatures, by...)
		slices.SortFunc(e.Signatures, func(a, b provenance.Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
		return e
	}
	changed := func(f func(*provenance.Statement)) provenance.Envelope {
		s := s
		f(&s)
		return signed(t, s, "alice", "bob")
	}
	mallory := provenance.Signature{KeyID: provenance.Digest(spki("mallory")), Sig: must(signer("mallory").Sign(t.Context(), provenance.PAE(good.PayloadType, good.Payload)))}
	posing := mallory
	posing.KeyID = provenance.Digest(spki("bob"))
	for want, e := range map[string]provenance.Envelope{
		"an unknown key signed it, with keyid " + mallory.KeyID: must(good.Add(t.Context(), signer("mallory"))),
		"an unknown key signed it, with keyid":                  with("bob", mallory),
		"it is signed by 1 of 2 signers, and 2 must":            with("bob"),
		"the signature with the keyid of bob":                   with("bob", posing),
		"the key itself must have signed it":                    with("ecdsa-p384"),
		"EMULATED":                                              changed(func(s *provenance.Statement) { s.Record.Entropy = provenance.Emulated }),
		`"https://api.example", which is not trusted`:           changed(func(s *provenance.Statement) { s.Record.Endpoint = "https://api.example" }),
		"a clock is wrong":                                      changed(func(s *provenance.Statement) { s.Record.Time = keyMade.Add(6 * time.Minute); s.Record.AgeSeconds = 362 }),
		"it has no payload":                                     {PayloadType: good.PayloadType, Signatures: good.Signatures},
		"no statement: that is of type":                         {PayloadType: "text/plain", Payload: good.Payload, Signatures: good.Signatures},
	} {
		if _, err := trust.VerifyEntry(e, keyMade); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "provenance: ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	trust.Threshold = 3
	if _, err := trust.VerifyEntry(good, keyMade); err == nil || !strings.Contains(err.Error(), "what is trusted") {
		t.Error(err)
	}
	// A key of an operator that the statement is about needs no other one beside it.
	trust = provenance.Trust{Signers: trusted("ed25519"), Threshold: 1}
	if r, err = trust.VerifyEntry(signed(t, statement("ed25519"), "ed25519"), keyMade); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, r, provenance.Follows, "the key itself signed it")
}
