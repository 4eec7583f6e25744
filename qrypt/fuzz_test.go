package qrypt

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// In the fuzz targets "<1>" and "<2>" stand for two blocks' base64, as in other
// tests here, so that what is mutated is short and is mostly what matters.
var expansion = strings.NewReplacer(firstText, string(fill(firstText)), secondText, string(fill(secondText)))

// expand returns false for an input that would be longer than most, which keeps
// every execution far below the 10 s after which the engine gives up on one.
func expand(body []byte, most int) ([]byte, bool) {
	placeholders := bytes.Count(body, []byte(firstText)) + bytes.Count(body, []byte(secondText))
	if len(body)+placeholders*encodedLen > most {
		return nil, false
	}
	return []byte(expansion.Replace(string(body))), true
}

func dialectOf(open bool) Dialect {
	if open {
		return DialectOpenAPI
	}
	return DialectQuantumEntropy
}

// sameBlocks checks what the product made of an answer against the oracle:
// accepted by both with the same bytes, or by neither.
func sameBlocks(t *testing.T, blocks []Block, err error, want [][]byte, refusal error) {
	t.Helper()
	if (err == nil) != (refusal == nil) {
		t.Fatalf("the product says %v, the oracle %v", err, refusal)
	}
	if err != nil && blocks != nil {
		t.Errorf("%d blocks with the error %v", len(blocks), err)
	}
	if len(blocks) != len(want) {
		t.Fatalf("%d blocks, %d by the oracle", len(blocks), len(want))
	}
	for i, b := range blocks {
		if !bytes.Equal(b.Bytes(), want[i]) {
			t.Errorf("block %d differs from the oracle's", i)
		}
	}
}

// FuzzParseAnswer checks that parseAnswer accepts what the oracle accepts, and
// nothing else, and reads it as the same bytes.
func FuzzParseAnswer(f *testing.F) {
	for _, body := range []string{
		`{"random":["<1>","<2>"],"size":2}`,
		`{"size":1,"random":["<1>"]}`,
		`{"entropy":["<1>"]}`,
		`{"entropy":["<1>","<2>"],"random":[],"size":2.0}`,
		` { "a" : {"size":[1]} , "random" : [ "<1>" ] , "size" : 1 , "b" : "\"]}" } `,
		`{"random":["<1>"],"size":1,"Random":["<2>"],"r\u0061ndom":[]}`,
		`{"random":["<1>"],"random":["<2>"],"size":1}`,
		`{"entropy":["\u0041\/\u002B=="]}`,
		`{"entropy":[["<1>"]],"entropy":null}`,
		`{"random":["<1>"],"size":"1"}{}`,
		`[{"random":["<1>"],"size":1}]`,
		`{"a":[[[[{"b":-1.5e+9}]]],true,false],"entropy":["<1>"]}`,
		`{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0,"m":0,"n":0,"o":0,"entropy":["<1>"]}`, // sixteen
		`{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0,"m":0,"n":0,"random":["<1>"],"size":1,"entropy":["<1>"]}`,
		"{\"\xff\":1,\"\xfe\":1,\"entropy\":[\"<1>\"]}",
	} {
		f.Add([]byte(body), false, uint16(0))
		f.Add([]byte(body), true, uint16(0))
		f.Add([]byte(body), false, uint16(1))
		f.Add(fill(body), true, uint16(0))
	}
	// What is almost base64, as a lax decoder takes it.
	whole := string(fill(`{"entropy":["<1>"]}`))
	end := strings.Index(whole, `=="`)
	leftover := alphabet[strings.IndexByte(alphabet, whole[end-1])+1:][:1]
	for _, body := range []string{
		whole[:end-1] + leftover + whole[end:],
		whole[:end] + whole[end+2:],
		whole[:end-5] + `\n` + whole[end-4:],
		strings.NewReplacer("+", "-", "/", "_").Replace(whole),
	} {
		f.Add([]byte(body), true, uint16(0))
	}
	for _, s := range faultSeeds(f) {
		f.Add(s.body, s.d == DialectOpenAPI, uint16(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, open bool, n uint16) {
		count := int(n)%MaxBlocks + 1
		body, ok := expand(body, maxAnswer(count)) // the client does not pass on more
		if !ok {
			return
		}
		origin := Origin{Endpoint: "https://there", Emulated: true}
		// parseAnswer may alter what it reads.
		blocks, err := parseAnswer(bytes.Clone(body), dialectOf(open), count, origin)
		want, refusal := oracleAnswer(body, dialectOf(open), count)
		sameBlocks(t, blocks, err, want, refusal)
		for i, b := range blocks {
			if b.Origin() != origin {
				t.Errorf("block %d is from %v", i, b.Origin())
			}
		}
	})
}

// The fuzz targets prove little if the oracle does not get far.
func TestOracleAcceptsAnswers(t *testing.T) {
	for _, d := range bothDialects {
		want := noise(1, 3)
		got, err := oracleAnswer(answerWith(d, want...), d, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%v: block %d differs", d, i)
			}
		}
		if _, err := oracleAnswer(answerWith(d, want...), d, 2); err == nil {
			t.Errorf("%v: accepted 3 blocks for 2", d)
		}
	}
}

// FuzzRetryAfter checks that what a Retry-After asks for is never negative, nor
// zero where it asks, nor above the cap of a year; and what it is, for seconds
// by arithmetic without an end, and for dates by making them.
func FuzzRetryAfter(f *testing.F) {
	for i, c := range retryAfterValues {
		f.Add(c.value, sent, int64(i)*1e9, uint8(i))
	}
	for _, wait := range []int64{-1 << 63, -1, 0, 1, 59, 86400 * 365, 86400*365 + 1, 1<<63 - 1} {
		f.Add("18446744073709551616", "", wait, uint8(0))
	}
	now := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	digits := regexp.MustCompile(`^[0-9]+$`)
	clamp := func(seconds *big.Int) time.Duration {
		if seconds.Cmp(big.NewInt(1)) < 0 {
			return time.Second
		}
		if limit := big.NewInt(int64(year / time.Second)); seconds.Cmp(limit) > 0 {
			return year
		}
		return time.Duration(seconds.Int64()) * time.Second
	}
	f.Fuzz(func(t *testing.T, value, date string, wait int64, form uint8) {
		header := func(value, date string) http.Header {
			return http.Header{"Retry-After": {value}, "Date": {date}}
		}
		got := retryAfter(header(value, date), now)
		if got < 0 || got > 0 && got < time.Second || got > year {
			t.Errorf("Retry-After: %q, Date: %q: %v", value, date, got)
		}
		switch value := strings.TrimSpace(value); {
		case digits.MatchString(value):
			seconds, _ := new(big.Int).SetString(value, 10)
			if want := clamp(seconds); got != want {
				t.Errorf("Retry-After: %q: %v, want %v", value, got, want)
			}
		case got != 0 && strings.Count(value, ":") != 2: // no form of a date is without a time of day
			t.Errorf("Retry-After: %q: %v", value, got)
		}

		// RFC 9110 section 5.6.7, in its three forms. The second has two digits
		// of the year, so that it only reaches so far.
		layout, reach := "Mon, 02 Jan 2006 15:04:05 GMT", int64(7900*365*86400)
		switch form % 3 {
		case 1:
			layout, reach = "Monday, 02-Jan-06 15:04:05 GMT", 40*365*86400
		case 2:
			layout = "Mon Jan _2 15:04:05 2006"
		}
		wait %= reach
		if form%3 != 1 && wait < 0 {
			wait %= 2000 * 365 * 86400
		}
		at := now.Unix() + wait
		if got, want := retryAfter(header(time.Unix(at, 0).UTC().Format(layout), sent), now.Add(time.Hour)), clamp(big.NewInt(wait)); got != want {
			t.Errorf("a date %d s after the answer's, in form %d: %v, want %v", wait, form%3, got, want)
		}
	})
}

// statusClass is which class a status is of: by the service's document where it
// has that, else by its hundred.
func statusClass(status int) error {
	switch status {
	case 401:
		return ErrUnauthorized
	case 403:
		return ErrQuota
	case 408:
		return ErrTimeout
	case 429:
		return ErrRateLimited
	case 503:
		return ErrNoSupply
	}
	return []error{1: ErrMalformed, 2: ErrMalformed, 3: ErrRedirected, 4: ErrBadRequest,
		5: ErrServer, 6: ErrServer, 7: ErrServer, 8: ErrServer, 9: ErrServer}[status/100]
}

// oracleHeader says whether a header may come with blocks. Of the content type
// it looks only at what comes before the parameters; where those are odd, the
// product may refuse it, and certain is false.
func oracleHeader(status int, types, codings []string) (ok, certain bool) {
	if status != 200 || len(types) == 0 {
		return false, true
	}
	for _, coding := range codings {
		if coding != "" && coding != "identity" {
			return false, true
		}
	}
	certain = true
	for _, kind := range types {
		kind, parameters, _ := strings.Cut(kind, ";")
		if asciiLower(strings.TrimSpace(kind)) != "application/json" {
			return false, true
		}
		certain = certain && (parameters == "" || asciiLower(strings.TrimSpace(parameters)) == "charset=utf-8")
	}
	return true, certain
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// FuzzHeader sends a good body below a hostile header: blocks come only with a
// 200 that is plain JSON, any other answer has the class of its status, and no
// error quotes the header.
func FuzzHeader(f *testing.F) {
	for _, status := range []uint16{200, 201, 204, 206, 301, 304, 307, 400, 401, 403, 408, 422, 429, 500, 503, 999} {
		f.Add(status, "application/json", "application/json", "", "", "7", "/elsewhere", false)
		f.Add(status, "text/html", "application/json", "gzip", "identity", sent, "https://evil.example/%zz", true)
	}
	for _, kind := range []string{
		"", ";", "application/json;", "application/json; charset=utf-8", "APPLICATION/JSON;CHARSET=UTF-8",
		"application/json; charset", "application/json; a=1; a=2", "application/jsonp", "application/json, text/html",
		"application /json", " application/json ", "appl\u0130cation/json", "application/json; q=\"\\", "text/json",
		"application/problem+json", "application/json\x00", "*/*", "application/json; charset*0=utf-8",
	} {
		f.Add(uint16(200), kind, kind, "", "", "", "", false)
		f.Add(uint16(200), "application/json", kind, "identity", "", "", "", true)
	}
	for _, coding := range []string{"gzip", "br", "Identity", "identity, gzip", "x", " "} {
		f.Add(uint16(200), "application/json", "application/json", coding, "identity", "", "", false)
		f.Add(uint16(200), "application/json", "application/json", "identity", coding, "", "", true)
	}
	f.Fuzz(func(t *testing.T, status uint16, kind, kind2, coding, coding2, retry, location string, open bool) {
		if status < 100 || status > 999 { // what three digits can say
			status = 100 + status%900
		}
		d := dialectOf(open)
		freshLimiter()
		c := mustNew(t, Config{Dialect: d, Token: StaticToken(rawToken), Endpoints: []string{"https://there"},
			HTTPClient: roundTrip(func(*http.Request) (*http.Response, error) {
				res := reply(int(status), oneBlock[d])
				res.Header = http.Header{
					"Content-Type":     {kind, kind2},
					"Content-Encoding": {coding, coding2},
					"Retry-After":      {retry},
					"Location":         {location},
				}
				return res, nil
			}).client()})
		blocks, err := c.Blocks(t.Context(), 1)
		ok, certain := oracleHeader(int(status), []string{kind, kind2}, []string{coding, coding2})
		if err == nil && !ok || err != nil && ok && certain {
			t.Fatalf("the product says %v, the oracle %t", err, ok)
		}
		if err == nil {
			sameBlocks(t, blocks, nil, noise(1, 1), nil)
			return
		}
		e := checkHostileError(t, blocks, err)
		want := statusClass(int(status))
		switch {
		case status == 200:
			want = ErrMalformed
		case e.Class == ErrNetwork && status/100 == 3 && location != "":
			want = ErrNetwork // net/http stumbles over a Location that is no URL
		}
		if e.Class != want {
			t.Errorf("status %d: %v, want %v", status, e.Class, want)
		}
	})
}

// checkHostileError checks what holds for every error that an answer brings.
func checkHostileError(t *testing.T, blocks []Block, err error) *Error {
	t.Helper()
	var e *Error
	if blocks != nil || !errors.As(err, &e) {
		t.Fatalf("%d blocks, error %T %v", len(blocks), err, err)
	}
	if e.RetryAfter < 0 || e.RetryAfter > 0 && e.RetryAfter < time.Second || e.RetryAfter > year {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	// All that varies in the text is a status, a duration and our own endpoint.
	if text := fmt.Sprintf("%v %+v %#v", err, err, e.Detail); len(text) > 1000 || strings.Contains(text, rawToken) {
		t.Errorf("an error with %d bytes: %.2000s", len(text), text)
	}
	return e
}
