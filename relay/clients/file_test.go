package clients

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	a, b := hashOf("a"), hashOf("b")
	entries, err := parse("f", []byte(`{"clients":[
		{"name":"web-1","token_sha256":"`+a+`","created":"2026-01-02T03:04:05Z","expires":"2027-01-02T03:04:05+01:00","rate":7,"bandwidth":2048,"quota":{"bytes":1048576,"period":"24h"}},
		{"name":"db","certificate":"db.internal.example","rate":-1,"bandwidth":-1},
		{"name":"old","certificate":"old"},
		{"name":"ops","token_sha256":"`+strings.ToUpper(b)+`","operator":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{Client{Name: "web-1", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Expires: time.Date(2027, 1, 2, 2, 4, 5, 0, time.UTC), Rate: 7, Bandwidth: 2048, Quota: Quota{1 << 20, 24 * time.Hour}}, hashToken("a")},
		{Client{Name: "db", Certificate: "db.internal.example", Rate: -1, Bandwidth: -1}, [32]byte{}},
		{Client{Name: "old", Certificate: "old", Rate: 30, Bandwidth: 64 << 10}, [32]byte{}},
		{Client{Name: "ops", Rate: 30, Operator: true}, hashToken("b")},
	}
	if !slices.Equal(entries, want) {
		t.Errorf("%+v, want %+v", entries, want)
	}
	if entries, err := parse("f", []byte(`{"clients":[]}`)); err != nil || len(entries) != 0 {
		t.Errorf("an empty list: %v, %v", entries, err)
	}
}

func TestParseIsStrict(t *testing.T) {
	a, b := hashOf("a"), hashOf("b")
	// one is a list of one client with a token and such members.
	one := func(members string) string {
		return `{"clients":[{"name":"web-1","token_sha256":"` + a + `"` + members + `}]}`
	}
	two := func(x, y string) string { return `{"clients":[{` + x + `},{` + y + `}]}` }
	for name, test := range map[string]struct{ text, want string }{
		"nothing":               {"", "not JSON"},
		"cut":                   {"{\"clients\":[\n{\"name\":\"web-1\",", "line 2: not JSON"},
		"no list":               {`{}`, `want {"clients": [...]}`},
		"null":                  {`null`, `want {"clients": [...]}`},
		"an array":              {`[]`, `want {"clients": [...]}`},
		"null list":             {`{"clients":null}`, `want {"clients": [...]}`},
		"another case":          {`{"Clients":[]}`, `want {"clients": [...]}`},
		"more than a list":      {`{"clients":[],"x":1}`, `want {"clients": [...]}`},
		"two lists":             {`{"clients":[],"clients":[]}`, `want {"clients": [...]}`},
		"two values":            {`{"clients":[]}{"clients":[]}`, "not JSON"},
		"nested deeply":         {`{"clients":[` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `]}`, "not JSON"},
		"not an object":         {`{"clients":["web-1"]}`, `client number 1: it is a string: it must be an object`},
		"null client":           {`{"clients":[null]}`, `client number 1: it is empty`},
		"unknown":               {one(`,"quotas":{"bytes":1,"period":"1h"}`), `client "web-1": unknown field "quotas"`},
		"unknown in quota":      {one(`,"quota":{"byte":1,"period":"1h"}`), `client "web-1": unknown field "byte"`},
		"member in capitals":    {one(`,"Rate":1`), `client "web-1": unknown field "Rate"`},
		"member folded":         {one(`,"expireſ":"2027-01-01T00:00:00Z"`), `client "web-1": unknown field`},
		"member twice":          {one(`,"rate":1,"rate":2`), `client "web-1": "rate" is there twice`},
		"in quota twice":        {one(`,"quota":{"bytes":1,"period":"1h","bytes":2}`), `client "web-1": "bytes" is there twice`},
		"null expiry":           {one(`,"expires":null`), `client "web-1": "expires" is empty`},
		"empty expiry":          {one(`,"expires":""`), `client "web-1": "expires" is empty`},
		"a text for a number":   {one(`,"rate":"30"`), `client "web-1": "rate" is a string: it must be a whole number`},
		"a fraction":            {one(`,"rate":1.5`), `client "web-1": "rate" is a number 1.5: it must be a whole number`},
		"a number for a bool":   {one(`,"operator":1`), `client "web-1": "operator" is a number: it must be true or false`},
		"no name":               {`{"clients":[{"token_sha256":"` + a + `"}]}`, `client number 1: "name" must be`},
		"a name of two lines":   {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"b\nc","token_sha256":"`+b+`"`), `client number 2: "name" must be`},
		"a name with a comma":   {`{"clients":[{"name":"a,b","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a name like a flag":    {`{"clients":[{"name":"-v","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a long name":           {`{"clients":[{"name":"` + strings.Repeat("a", 65) + `","token_sha256":"` + a + `"}]}`, `"name" must be`},
		"a name twice":          {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"a","token_sha256":"`+b+`"`), `client "a": there are two of this name`},
		"a token twice":         {two(`"name":"a","token_sha256":"`+a+`"`, `"name":"b","token_sha256":"`+strings.ToUpper(a)+`"`), `client "b": it has the token of a`},
		"a certificate twice":   {two(`"name":"a","certificate":"x"`, `"name":"b","certificate":"x"`), `client "b": it has the certificate of a`},
		"neither":               {`{"clients":[{"name":"web-1"}]}`, `want one of "token_sha256" and "certificate"`},
		"both":                  {one(`,"certificate":"x"`), `want one of "token_sha256" and "certificate"`},
		"a short hash":          {`{"clients":[{"name":"web-1","token_sha256":"abcd"}]}`, `must be the SHA-256 of the token in 64 hexadecimal digits`},
		"no hash":               {`{"clients":[{"name":"web-1","token_sha256":"` + strings.Repeat("x", 64) + `"}]}`, `must be the SHA-256 of the token in 64 hexadecimal digits`},
		"an odd certificate":    {`{"clients":[{"name":"web-1","certificate":" x"}]}`, `"certificate" must be the DNS name`},
		"a certificate's bytes": {`{"clients":[{"name":"web-1","certificate":"` + "a\xff" + `"}]}`, `"certificate" must be the DNS name`},
		"a long certificate":    {`{"clients":[{"name":"web-1","certificate":"` + strings.Repeat("x", 254) + `"}]}`, `"certificate" must be the DNS name`},
		"expires some day":      {one(`,"expires":"2027-01-01"`), `client "web-1": "expires" must be a time`},
		"expires at zero":       {one(`,"expires":"0001-01-01T00:00:00Z"`), `client "web-1": "expires" must be a time`},
		"expires after 9999":    {one(`,"expires":"9999-12-31T23:59:59-01:00"`), `client "web-1": "expires" must be a time`},
		"created some day":      {one(`,"created":"yesterday"`), `client "web-1": "created" must be a time`},
		"rate zero":             {one(`,"rate":0`), `client "web-1": "rate" is 0: write how many requests in 10 s, at most 1048576, or -1 for no limit`},
		"rate below":            {one(`,"rate":-2`), `"rate" is -2`},
		"rate above":            {one(`,"rate":1048577`), `"rate" is 1048577`},
		"bandwidth zero":        {one(`,"bandwidth":0`), `client "web-1": "bandwidth" is 0: write how many bytes a second, at most 134217728, or -1 for no limit`},
		"bandwidth below":       {one(`,"bandwidth":-2`), `"bandwidth" is -2`},
		"bandwidth above":       {one(`,"bandwidth":134217729`), `"bandwidth" is 134217729`},
		"bandwidth as a text":   {one(`,"bandwidth":"64KiB"`), `"bandwidth" is a string: it must be a whole number`},
		"an empty quota":        {one(`,"quota":{}`), `"quota" has 0 "bytes"`},
		"quota below":           {one(`,"quota":{"bytes":-1,"period":"1h"}`), `"quota" has -1 "bytes"`},
		"quota beyond":          {one(`,"quota":{"bytes":9223372036854775808,"period":"1h"}`), `"quota.bytes" is a number 9223372036854775808: it must be a whole number`},
		"no period":             {one(`,"quota":{"bytes":1}`), `"period" of "quota" must be written like 1h or 24h, from 1s to 8784h`},
		"a period of days":      {one(`,"quota":{"bytes":1,"period":"1d"}`), `"period" of "quota" must be`},
		"a short period":        {one(`,"quota":{"bytes":1,"period":"999ms"}`), `"period" of "quota" must be`},
		"a long period":         {one(`,"quota":{"bytes":1,"period":"8785h"}`), `"period" of "quota" must be`},
		"operator's bandwidth":  {one(`,"operator":true,"bandwidth":-1`), `an operator gets no entropy`},
		"an operator's quota":   {one(`,"operator":true,"quota":{"bytes":1,"period":"1h"}`), `an operator gets no entropy`},
	} {
		entries, err := parse("the-file", []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "relay: the-file: ") || entries != nil {
			t.Errorf("%s: %v, %v, want an error with %q", name, entries, err, test.want)
		}
	}
}

func FuzzClientsFile(f *testing.F) {
	hash := hashOf("a")
	for _, seed := range []string{
		`{"clients":[]}`,
		`{"clients":[{"name":"a","token_sha256":"` + hash + `","created":"2026-01-02T03:04:05.6+01:00","expires":"2027-01-01T00:00:00Z","rate":3,"bandwidth":5,"quota":{"bytes":1,"period":"1.5s"}}]}`,
		`{"clients":[{"name":"a","certificate":"Ä <&> \"7\"","rate":-1,"operator":true},{"name":"b","certificate":"b"}]}`,
		`{"clients":[{"name":"a","certificate":"x","quota":{"bytes":9223372036854775807,"period":"90m"}}]}`,
		`{"clients":[{"name":"a","name":"b"},null,{"NAME":1}]} x`,
		`[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parse("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "relay: f: ") || entries != nil {
				t.Errorf("%v, %v", entries, err)
			}
			return
		}
		text := encode(entries)
		again, err := parse("f", text)
		if err != nil || !slices.Equal(again, entries) {
			t.Errorf("%+v became %+v, %v by way of %s", entries, again, err, text)
		}
	})
}
