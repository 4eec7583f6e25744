package provenance_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"example.com/qrand/provenance"
)

const schemaFile = "../docs/statement.schema.json"

// TestSchema: fresh statements are valid against the schema, and changed ones are not.
func TestSchema(t *testing.T) {
	schema := jsonschema.NewCompiler().MustCompile(schemaFile)
	valid := func(payload string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	full := fullStatement("ed25519")
	plain := statement("x-wing")
	r := &plain.Record
	r.Entropy, r.Blocks, r.Fingerprints, r.AgeSeconds, r.Endpoint = provenance.OSOnly, 0, nil, 0, ""
	r.LastBlock, r.LastReceived = time.Time{}, time.Time{}
	for _, s := range []provenance.Statement{full, plain, statement("ml-dsa-44")} {
		payload := string(signed(t, s, "alice").Payload)
		if err := valid(payload); err != nil {
			t.Errorf("%v\n%s", err, payload)
		}
	}
	payload := string(signed(t, full, "alice").Payload)
	for _, change := range [][2]string{
		{`"_type":"https://in-toto.io/Statement/v1",`, ``},
		{`key-provenance/v1`, `key-provenance/v2`},
		{`"self_signed":true`, `"self_signed":1`},
		{`"self_signed"`, `"more":1,"self_signed"`},
		{`"blocks":1`, `"blocks":1,"more":1`},
		{`"subject":[`, `"subject":[{},`},
		{`"place":"Genève"`, `"place":"two\nlines"`},
		{`"entropy":"quantum"`, `"entropy":"certain"`},
		{`"keyid":"`, `"keyid":"X`},
	} {
		if !strings.Contains(payload, change[0]) {
			t.Fatalf("no %s in %s", change[0], payload)
		}
		if changed := strings.Replace(payload, change[0], change[1], 1); valid(changed) == nil {
			t.Errorf("valid: %s", changed)
		}
	}
}

// TestReceiptSchema: a fresh receipt is valid against the schema.
func TestReceiptSchema(t *testing.T) {
	e, err := receipt().Sign(t.Context(), signer("alice"))
	if err != nil {
		t.Fatal(err)
	}
	schema := jsonschema.NewCompiler().MustCompile(schemaFile + "#/$defs/receipt")
	for _, test := range []struct {
		payload string
		valid   bool
	}{{string(e.Payload), true}, {strings.Replace(string(e.Payload), `"emulated":false`, `"emulated":0`, 1), false}} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(test.payload))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != test.valid {
			t.Errorf("%v: %s", err, test.payload)
		}
	}
}

// TestSchemaMembers: the schema names every member that a Go type has, and no other one.
func TestSchemaMembers(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	defs := compiler.MustCompile(schemaFile).Properties["predicate"].Ref
	receipt := compiler.MustCompile(schemaFile + "#/$defs/receipt")
	for _, test := range []struct {
		schema *jsonschema.Schema
		of     any
	}{
		{defs, provenance.Statement{}},
		{defs.Properties["record"].Ref, provenance.Record{}},
		{defs.Properties["record"].Ref.Properties["certificate"], provenance.Certificate{}},
		{defs.Properties["ceremony"].Ref, provenance.Ceremony{}},
		{defs.Properties["ceremony"].Ref.Properties["operators"].Items2020, provenance.Operator{}},
		{defs.Properties["receipts"].Items2020.Ref, provenance.Envelope{}},
		{defs.Properties["receipts"].Items2020.Ref.Properties["signatures"].Items2020, provenance.Signature{}},
		{receipt, provenance.Receipt{}},
		{receipt.Properties["blocks"].Items2020, provenance.RelayBlocks{}},
	} {
		var members, required []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(test.of)) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			members = append(members, name)
			if options == "" {
				required = append(required, name)
			}
		}
		var named []string
		for name := range test.schema.Properties {
			named = append(named, name)
		}
		for _, lists := range [][2][]string{{members, named}, {required, slices.Clone(test.schema.Required)}} {
			slices.Sort(lists[0])
			slices.Sort(lists[1])
			if !slices.Equal(lists[0], lists[1]) {
				t.Errorf("%T has %q, the schema %q", test.of, lists[0], lists[1])
			}
		}
	}
}
