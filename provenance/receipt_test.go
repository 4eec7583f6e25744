package provenance_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

func relays(names ...string) (all []provenance.TrustedRelay) {
	for _, k := range trusted(names...) {
		all = append(all, provenance.TrustedRelay{TrustedKey: k})
	}
	return all
}

// receipt is one for the block of statement, which came through a relay.
func receipt() provenance.Receipt {
	return provenance.Receipt{
		Relay: "relay-a", Client: "ceremony", Time: keyMade.Add(-1500 * time.Millisecond),
		Blocks: []provenance.RelayBlocks{{
			Fingerprints: []string{"01234567:00000000000000000000000000000000", "01234567:0123456789abcdef0123456789abcdef"},
			Endpoint:     qrypt.EndpointWEU, Received: keyMade.Add(-3 * time.Second),
		}},
	}
}

// TestReceipts: where the Trust asks for receipts, a statement is accepted with one of a
// trusted relay for each block, and refused without, for the cause that is named.
func TestReceipts(t *testing.T) {
	const relayURL, other = "https://relay.example:8443", "01234567:ffffffffffffffffffffffffffffffff"
	type all struct {
		s     provenance.Statement
		r     provenance.Receipt
		by    string
		trust provenance.Trust
		file  func(*provenance.Envelope)
	}
	for _, test := range []struct {
		name   string
		change func(*all)
		want   string // of the error; empty: accepted
		lines  string // of the report
	}{
		{"good", func(*all) {}, "", `receipt follows the relay bob signed that it handed 1 of the blocks in the key out to its client "ceremony", the last one at 2026-03-01T11:59:58Z
upstream follows it had come to the relay from "https://api-weu.qrypt.com", which is trusted, by the relay's word
`},
		{"for the client that is wanted", func(a *all) { a.trust.Receipts[0].Client = "ceremony" }, "", ""},
		{"of another relay with the name", func(a *all) { a.r.Relay = "mallory" }, "", ""},
		{"not wanted", func(a *all) { a.trust.Receipts = nil }, "", "receipts open 1 receipts of relays were not verified: no relay's key is given\n"},
		{"none", func(a *all) { a.file = func(e *provenance.Envelope) { *e = provenance.Envelope{} } }, "no receipt of a trusted relay is for the block 01234567:0123456789abcdef0123456789abcdef", ""},
		{"for another client", func(a *all) { a.trust.Receipts[0].Client = "web" },
			`the relay bob handed the block 01234567:0123456789abcdef0123456789abcdef out to its client "ceremony", not to "web"`, ""},
		{"for another block", func(a *all) { a.r.Blocks[0].Fingerprints[1] = other }, "no receipt of a trusted relay is for the block 01234567:0123456789abcdef0123456789abcdef",
			`receipt open the relay bob signed a receipt for other blocks: that does not count
receipts refused no receipt of a trusted relay is for the block 01234567:0123456789abcdef0123456789abcdef
`},
		{"for one block of two", func(a *all) {
			a.s.Record.Blocks, a.s.Record.Fingerprints = 2, append([]string{other}, a.s.Record.Fingerprints...)
		}, "no receipt of a trusted relay is for the block " + other, ""},
		{"for one of which the record names the last", func(a *all) { a.s.Record.Blocks = 3 }, "", "2 blocks that went in before are not named in the record"},
		{"for a block that came 6 min before", func(a *all) { a.r.Blocks[0].Received = keyMade.Add(-2*time.Second - 5*time.Minute - 1) },
			"it came from the service at 2026-03-01T11:54:57Z by the relay's clock, and at 2026-03-01T11:59:58Z by the record", ""},
		{"for a block that came after", func(a *all) {
			a.r.Blocks[0].Received, a.r.Time = keyMade.Add(-2*time.Second+5*time.Minute+1), keyMade.Add(-2*time.Second+5*time.Minute+1)
		}, "and at 2026-03-01T11:59:58Z by the record", ""},
		{"of clocks that differ a little", func(a *all) { a.r.Blocks[0].Received = keyMade.Add(-2*time.Second - 5*time.Minute) }, "", ""},
		{"for a block that was handed out later", func(a *all) { a.r.Time = keyMade.Add(-time.Second + 5*time.Minute + 1) },
			"the relay handed it out at 2026-03-01T12:04:59Z, after it went into the key, at 2026-03-01T11:59:59Z", ""},
		{"for an emulated block", func(a *all) { a.r.Blocks[0].Emulated = true }, "the relay had it from an emulator, and the record says that the entropy was quantum", ""},
		{"for an emulated block, in a rehearsal", func(a *all) {
			a.r.Blocks[0].Emulated, a.r.Blocks[0].Endpoint = true, "http://127.0.0.1:1"
			a.s.Record.Entropy, a.trust.Emulated = provenance.Emulated, true
		}, "", ""},
		{"from an endpoint that is not trusted", func(a *all) { a.r.Blocks[0].Endpoint = "https://blocks.example" },
			`what the relay bob handed out: the block came from "https://blocks.example", which is not trusted: only https://api-eus.qrypt.com, https://api-weu.qrypt.com, ` + relayURL, ""},
		{"from another relay", func(a *all) {
			a.r.Blocks[0].Endpoint, a.trust.Endpoints = "https://upper.example", append(a.trust.Endpoints, "https://upper.example")
		}, "", ""},
		{"from plain HTTP", func(a *all) { a.r.Blocks[0].Endpoint = "http://127.0.0.1:1" }, "and not over HTTPS", ""},
		{"where only other blocks are from elsewhere", func(a *all) {
			a.r.Blocks = append(a.r.Blocks, provenance.RelayBlocks{Fingerprints: []string{other}, Endpoint: "http://127.0.0.1:1", Received: keyMade.Add(-time.Hour), Emulated: true})
		}, "", ""},
		{"of an unknown relay", func(a *all) { a.by = "mallory" }, "no receipt of a trusted relay is for the block", "receipt open an unknown key with keyid " + provenance.Digest(spki("mallory")) + " signed a receipt: that does not count\n"},
		{"of a known relay, signed by another key", func(a *all) {
			a.by = "mallory"
			a.file = func(e *provenance.Envelope) { e.Signatures[0].KeyID = provenance.Digest(spki("bob")) }
		}, "the signature of a receipt with the keyid of the relay bob, " + provenance.Digest(spki("bob")) + ", is wrong", ""},
		{"changed", func(a *all) {
			a.file = func(e *provenance.Envelope) {
				e.Payload = bytes.Replace(e.Payload, []byte("11:59:57"), []byte("11:59:56"), 1)
			}
		}, "of the relay bob, " + provenance.Digest(spki("bob")) + ", is wrong", ""},
		{"that is a statement", func(a *all) {
			a.file = func(e *provenance.Envelope) { *e = signed(t, statement("x-wing"), "bob") }
		}, `the envelope has a payload of type "application/vnd.in-toto+json", and no receipt`, ""},
		{"without a block in the key", func(a *all) {
			r := &a.s.Record
			r.Entropy, r.Blocks, r.Fingerprints, r.AgeSeconds, r.Endpoint, r.LastBlock, r.LastReceived = provenance.OSOnly, 0, nil, 0, "", time.Time{}, time.Time{}
		}, "receipts of a relay are wanted, and no block was in the key", ""},
		{"of a client of two lines", func(a *all) { a.trust.Receipts[0].Client = "a\nb" }, `the key of a relay's receipts: the client of "bob"`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := all{s: statement("x-wing"), r: receipt(), by: "bob", trust: provenance.Trust{
				Signers: trusted("alice"), Threshold: 1, Endpoints: []string{relayURL}, Receipts: relays("bob"),
			}, file: func(*provenance.Envelope) {}}
			a.s.Record.Endpoint = relayURL
			test.change(&a)
			e, err := a.r.Sign(t.Context(), signer(a.by))
			if err != nil {
				t.Fatal(err)
			}
			if a.file(&e); e.Payload != nil {
				a.s.Receipts = []provenance.Envelope{e}
			}
			r, err := a.trust.Verify(provenance.Evidence{Envelope: signed(t, a.s, "alice"), PublicKey: spki("x-wing")}, keyMade)
			if test.want == "" && err != nil {
				t.Error(err)
			} else if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if got := lines(r); !strings.Contains(got, test.lines) {
				t.Errorf("got\n%s\nwant in it\n%s", got, test.lines)
			}
		})
	}
}

// TestReceiptFile: a receipt of 8 blocks is short, comes back as it was, and has one encoding.
func TestReceiptFile(t *testing.T) {
	r := receipt()
	r.Time = r.Time.In(time.FixedZone("", 3600)) // one encoding of a time is written
	r.Blocks[0].Fingerprints = nil
	for i := range 8 {
		r.Blocks[0].Fingerprints = append(r.Blocks[0].Fingerprints, fmt.Sprintf("01234567:%032x", i))
	}
	e, err := r.Sign(t.Context(), signer("ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	text := must(e.Encode())
	if len(text) >= 1500 {
		t.Errorf("a receipt for 8 blocks has %d bytes", len(text))
	}
	t.Logf("a receipt for 8 blocks has %d bytes, signed with Ed25519", len(text))
	got, err := must(provenance.ParseEnvelope(text)).Receipt()
	if err != nil || got.Client != "ceremony" || !got.Time.Equal(r.Time) || !slices.Equal(got.Blocks[0].Fingerprints, r.Blocks[0].Fingerprints) || got.Blocks[0].Received != r.Blocks[0].Received {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := e.Statement(); err == nil || !strings.Contains(err.Error(), "and no statement") {
		t.Errorf("it is read as a statement: %v", err)
	}
	if _, err := e.Add(t.Context(), signer("bob")); err == nil {
		t.Error("a person signed a receipt as a statement")
	}
	for want, change := range map[string][2]string{
		"it is not as qrand writes it":      {`"client":"ceremony",`, `"client":"x","client":"ceremony",`},
		"from byte 1 on":                    {`{"relay"`, `{ "relay"`},
		"unknown field":                     {`{"relay"`, `{"more":1,"relay"`},
		"not a fingerprint, or is there":    {"000002", "000001"},
		`"" is not text of one line`:        {`"client":"ceremony"`, `"client":""`},
		`"a\nb" is not text of one line`:    {`"relay":"relay-a"`, `"relay":"a\nb"`},
		"handed out at 2026-03-01 11:59:56": {"11:59:58.5Z", "11:59:56.5Z"},
	} {
		if !strings.Contains(string(e.Payload), change[0]) {
			t.Fatalf("no %s in %s", change[0], e.Payload)
		}
		changed := provenance.Envelope{PayloadType: e.PayloadType, Payload: []byte(strings.Replace(string(e.Payload), change[0], change[1], 1)), Signatures: e.Signatures}
		if _, err := changed.Receipt(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, change := range map[string]func(*provenance.Receipt){
		"it has a list of no blocks":   func(r *provenance.Receipt) { r.Blocks = append(r.Blocks, provenance.RelayBlocks{}) },
		"it is for 0 blocks":           func(r *provenance.Receipt) { r.Blocks = nil },
		"is not a fingerprint":         func(r *provenance.Receipt) { r.Blocks[0].Fingerprints = []string{"0"} },
		"that had come at 0001":        func(r *provenance.Receipt) { r.Blocks[0].Received = time.Time{} },
		`the receipt: "" is not text `: func(r *provenance.Receipt) { r.Blocks[0].Endpoint = "" },
		"it is for 513 blocks": func(r *provenance.Receipt) {
			for i := range 511 {
				r.Blocks[0].Fingerprints = append(r.Blocks[0].Fingerprints, fmt.Sprintf("01234567:1%031x", i))
			}
		},
	} {
		r := receipt()
		change(&r)
		if _, err := r.Sign(t.Context(), signer("ed25519")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
