package qrypt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// The answers below are written with these in place of two blocks' base64.
const firstText, secondText = "<1>", "<2>"

func fill(template string) []byte {
	b := noise(7, 2)
	// The base64 of the first is rich in the two characters that servers escape.
	for i := range 300 {
		b[0][i] = "\xfb\xff\xbf"[i%3]
	}
	text := strings.ReplaceAll(template, firstText, base64.StdEncoding.EncodeToString(b[0]))
	return []byte(strings.ReplaceAll(text, secondText, base64.StdEncoding.EncodeToString(b[1])))
}

// base64With is the base64 of the first block, changed.
func base64With(change func(text string) string) string {
	return change(string(fill(firstText)))
}

func TestParseAnswer(t *testing.T) {
	const q, o = DialectQuantumEntropy, DialectOpenAPI
	replace := func(from, to string) string {
		return base64With(func(text string) string {
			if !strings.Contains(text, from) {
				t.Fatalf("no %q to replace", from)
			}
			return strings.ReplaceAll(text, from, to)
		})
	}
	insert := func(at int, what string) string {
		return base64With(func(text string) string { return text[:at] + what + text[at:] })
	}
	// The last group of a block holds one byte, and four bits that must be zero.
	leftover := base64With(func(text string) string {
		last := strings.IndexByte(alphabet, text[len(text)-3])
		return text[:len(text)-3] + alphabet[last+1:last+2] + "=="
	})
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"f%d":%d,`, i, i)
		}
		return b.String()
	}
	const (
		notJSON   = "not one JSON value"
		notObject = "not a JSON object"
		odd       = "odd name"
		twice     = "same field twice"
		count     = "does not have the %d blocks"
		size      = "its size is not the %d"
		noSize    = "no size"
		noArray   = "it has no"
		noString  = "a block is not a string"
		noBase64  = "block 1: not the base64 of 1024 bytes"
	)
	for _, c := range []struct {
		name string
		d    Dialect
		n    int
		body string
		want string // in the error; empty: accepted
	}{
		{"plain", q, 2, `{"random":["<1>","<2>"],"size":2}`, ""},
		{"plain", o, 2, `{"entropy":["<1>","<2>"]}`, ""},
		{"size first", q, 1, `{"size":1,"random":["<1>"]}`, ""},
		{"white space", q, 2, " \t\r\n{ \"random\" : [ \"<1>\" , \"<2>\"\n]\r,\t\"size\" : 2 } \n", ""},
		{"white space", o, 1, "\n{\n\t\"entropy\":\n[\n\"<1>\"\n]\n}\n", ""},
		{"unknown fields", q, 1, `{"a":null,"random":["<1>"],"b":{"random":["x"],"size":[7,{}]},"size":1,"c":[[],{}, "]}" ]}`, ""},
		{"unknown fields", o, 1, `{"size":99,"a":"\"}","random":["x"],"entropy":["<1>"],"b":-1.5e+9,"":true,"c":[false,"\\"]}`, ""},
		{"sixteen fields", q, 1, `{` + fields(14) + `"random":["<1>"],"size":1}`, ""},
		{"seventeen fields", q, 1, `{` + fields(15) + `"random":["<1>"],"size":1}`, "more than 16 fields"},
		{"name of 64", o, 1, `{"` + strings.Repeat("n", 64) + `":1,"entropy":["<1>"]}`, ""},
		{"name of 65", o, 1, `{"` + strings.Repeat("n", 65) + `":1,"entropy":["<1>"]}`, odd},
		{"another case", q, 1, `{"Random":["<1>"],"size":1}`, noArray + ` "random"`},
		{"another case", q, 1, `{"random":["<1>"],"SIZE":1}`, noSize},
		{"another case", o, 1, `{"Entropy":["<1>"]}`, noArray + ` "entropy"`},
		{"two cases", o, 1, `{"Entropy":["<2>"],"entropy":["<1>"],"ENTROPY":[]}`, ""},
		{"escaped name", q, 1, `{"r\u0061ndom":["<1>"],"size":1}`, odd},
		{"escaped name", q, 1, `{"random":["<1>"],"size":1,"\/":1}`, odd},
		{"twice", q, 1, `{"random":["<1>"],"size":1,"random":["<1>"]}`, twice},
		{"twice", o, 1, `{"entropy":["<1>"],"entropy":["<1>"]}`, twice},
		{"size twice", q, 1, `{"random":["<1>"],"size":1,"size":1}`, twice},
		{"unknown twice", q, 1, `{"a":1,"random":["<1>"],"a":1,"size":1}`, twice},
		{"of the other dialect", q, 1, `{"entropy":["<1>"],"size":1}`, noArray},
		{"of the other dialect", o, 1, `{"random":["<1>"],"size":1}`, noArray},

		{"empty", q, 1, ``, notJSON},
		{"space", q, 1, ` `, notJSON},
		{"null", q, 1, `null`, notObject},
		{"array", o, 1, `["<1>"]`, notObject},
		{"string", o, 1, `"<1>"`, notObject},
		{"number", o, 1, `1`, notObject},
		{"empty object", q, 1, `{}`, noArray},
		{"cut", q, 1, `{"random":["<1>"],"size":1`, notJSON},
		{"trailing", q, 1, `{"random":["<1>"],"size":1}{}`, notJSON},
		{"trailing comma", q, 1, `{"random":["<1>"],"size":1,}`, notJSON},
		{"trailing comma in array", o, 1, `{"entropy":["<1>",]}`, notJSON},
		{"no commas", o, 2, `{"entropy":["<1>" "<2>"]}`, notJSON},
		{"byte order mark", o, 1, "\ufeff{\"entropy\":[\"<1>\"]}", notJSON},
		{"comment", o, 1, `{"entropy":["<1>"]/**/}`, notJSON},
		{"deep", o, 1, `{"a":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `,"entropy":["<1>"]}`, notJSON},

		{"size 3", q, 2, `{"random":["<1>","<2>"],"size":3}`, size},
		{"size 2.0", q, 2, `{"random":["<1>","<2>"],"size":2.0}`, size},
		{"size 2e0", q, 2, `{"random":["<1>","<2>"],"size":2e0}`, size},
		{"size in quotes", q, 2, `{"random":["<1>","<2>"],"size":"2"}`, size},
		{"size null", q, 2, `{"random":["<1>","<2>"],"size":null}`, size},
		{"size in array", q, 2, `{"random":["<1>","<2>"],"size":[2]}`, size},
		{"size negative", q, 2, `{"random":["<1>","<2>"],"size":-2}`, size},
		{"size huge", q, 2, `{"random":["<1>","<2>"],"size":18446744073709551618}`, size},
		{"size missing", q, 2, `{"random":["<1>","<2>"]}`, noSize},

		{"no blocks", q, 1, `{"random":[],"size":1}`, count},
		{"no blocks", o, 1, `{"entropy":[ ]}`, count},
		{"too few", q, 2, `{"random":["<1>"],"size":2}`, count},
		{"too many", q, 1, `{"random":["<1>","<2>"],"size":1}`, count},
		{"too many", o, 1, `{"entropy":["<1>","<2>"]}`, count},
		{"null for array", q, 1, `{"random":null,"size":1}`, count},
		{"object for array", q, 1, `{"random":{"0":"<1>"},"size":1}`, count},
		{"string for array", o, 1, `{"entropy":"<1>"}`, count},
		{"null block", o, 1, `{"entropy":[null]}`, noString},
		{"number for block", o, 1, `{"entropy":[1]}`, noString},
		{"nested block", o, 1, `{"entropy":[["<1>"]]}`, noString},
		{"true after block", o, 2, `{"entropy":["<1>",true]}`, noString},

		{"escaped solidus", q, 1, `{"random":["` + replace("/", `\/`) + `"],"size":1}`, ""},
		{"escaped plus", q, 1, `{"random":["` + replace("+", `\u002B`) + `"],"size":1}`, ""},
		{"escaped plus, lower case", o, 1, `{"entropy":["` + replace("+", `\u002b`) + `"]}`, ""},
		{"escaped padding", o, 1, `{"entropy":["` + replace("=", `\u003d`) + `"]}`, ""},
		{"other escape", o, 1, `{"entropy":["` + insert(5, `\n`) + `"]}`, noBase64},
		{"newline for a character", o, 1, `{"entropy":["` + base64With(func(s string) string { return s[:8] + `\n` + s[9:] }) + `"]}`, noBase64},
		{"backspace for a character", o, 1, `{"entropy":["` + base64With(func(s string) string { return s[:8] + `\b` + s[9:] }) + `"]}`, noBase64},
		{"escaped newline", o, 1, `{"entropy":["` + insert(5, `\u000a`) + `"]}`, noBase64},
		{"escaped space", o, 1, `{"entropy":["` + insert(5, `\u0020`) + `"]}`, noBase64},
		{"escaped quote", o, 1, `{"entropy":["` + insert(5, `\"`) + `"]}`, noBase64},
		{"escaped solidus reversed", o, 1, `{"entropy":["` + insert(5, `\\`) + `"]}`, noBase64},
		{"escape beyond ASCII", o, 1, `{"entropy":["` + replace("+", `\u012B`) + `"]}`, noBase64},
		{"escaped surrogates", o, 1, `{"entropy":["` + insert(5, `\ud83d\ude00`) + `"]}`, noBase64},
		{"newline in base64", o, 1, "{\"entropy\":[\"" + insert(76, "\n") + "\"]}", notJSON},
		{"space in base64", o, 1, `{"entropy":["` + insert(4, ` `) + `"]}`, noBase64},
		{"space for a character", o, 1, `{"entropy":["` + base64With(func(s string) string { return s[:8] + " " + s[9:] }) + `"]}`, noBase64},
		{"base64url", o, 1, `{"entropy":["` + replace("+", "-") + `"]}`, noBase64},
		{"base64url", o, 1, `{"entropy":["` + replace("/", "_") + `"]}`, noBase64},
		{"no padding", o, 1, `{"entropy":["` + replace("=", "") + `"]}`, noBase64},
		{"half the padding", o, 1, `{"entropy":["` + base64With(func(s string) string { return s[:len(s)-1] }) + `"]}`, noBase64},
		{"more padding", o, 1, `{"entropy":["` + replace("==", "====") + `"]}`, noBase64},
		{"bits left over", o, 1, `{"entropy":["` + leftover + `"]}`, noBase64},
		{"1,023 bytes", o, 1, `{"entropy":["` + encoded(1023) + `"]}`, noBase64},
		{"1,025 bytes", o, 1, `{"entropy":["` + encoded(1025) + `"]}`, noBase64},
		{"1,026 bytes", o, 1, `{"entropy":["` + encoded(1026) + `"]}`, noBase64},
		{"empty block", o, 1, `{"entropy":[""]}`, noBase64},
		{"second block", q, 2, `{"random":["<1>","` + encoded(1023) + `"],"size":2}`, "block 2: not the base64 of 1024 bytes"},
	} {
		t.Run(fmt.Sprintf("%s/%v", c.name, c.d), func(t *testing.T) {
			origin := Origin{Endpoint: "https://there", Emulated: true}
			blocks, err := parseAnswer(fill(c.body), c.d, c.n, origin)
			if c.want != "" {
				want := c.want
				if strings.Contains(want, "%d") {
					want = fmt.Sprintf(want, c.n)
				}
				if err == nil || !strings.Contains(err.Error(), want) || blocks != nil {
					t.Errorf("%d blocks, error %v, want %q", len(blocks), err, want)
				}
				return
			}
			if err != nil || len(blocks) != c.n {
				t.Fatalf("%d blocks, error %v", len(blocks), err)
			}
			want := [][]byte{decoded(fill(firstText)), decoded(fill(secondText))}
			for i, b := range blocks {
				if !bytes.Equal(b.Bytes(), want[i]) {
					t.Errorf("block %d is not what was sent", i)
				}
				if b.Origin() != origin {
					t.Errorf("block %d is from %v", i, b.Origin())
				}
			}
		})
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func encoded(size int) string { return base64.StdEncoding.EncodeToString(make([]byte, size)) }

func decoded(text []byte) []byte {
	p, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		panic(err)
	}
	return p
}

// What any JSON library may write is accepted: its order of fields, its white
// space, its escapes.
func TestParseAnswerAcceptsAnyWriter(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	for seed := range byte(60) {
		d := bothDialects[seed%2]
		n := 1 + source.IntN(5)
		want := noise(seed, n)
		body := answerWith(d, want...)
		switch source.IntN(3) {
		case 0:
			var out bytes.Buffer
			if err := json.Indent(&out, body, strings.Repeat(" ", source.IntN(3)), "\t"); err != nil {
				t.Fatal(err)
			}
			body = out.Bytes()
		case 1:
			body = bytes.ReplaceAll(body, []byte("/"), []byte(`\/`))
		}
		blocks, err := parseAnswer(body, d, n, Origin{})
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		for i, b := range blocks {
			if !bytes.Equal(b.Bytes(), want[i]) {
				t.Errorf("block %d of %d is not what was sent", i, n)
			}
		}
	}
}

// The blocks before a wrong one come back with the error, to be wiped.
func TestWalkerReturnsWhatItDecoded(t *testing.T) {
	for _, text := range []string{`["<1>","<2>",0]`, `["<1>","!"]`, `["<1>","<2>"]`} {
		w := walker{fill(text)}
		blocks, err := w.blocks(3, Origin{})
		if err == nil || len(blocks) != 2 || !bytes.Equal(blocks[0].Bytes(), decoded(fill(firstText))) {
			t.Errorf("%s: %d blocks, error %v", text, len(blocks), err)
		}
	}
}

// The walker relies on valid JSON. It gets no other, and would neither panic
// nor run forever if it did.
func TestWalkerOnInvalidText(t *testing.T) {
	body := string(fill(`{"a":{"b":["c\"",-1.5e3,null]},"entropy":["<1>"],"s":" \u002B\\"}`))
	texts := []string{"", `"`, `\`, `"\`, `"\"`, `]`, `}}`, `]]]"`, `:`, `,`, `[`, `{"`, `["`, `["\`, `[[[[`, `"a"b`, "\x00", `[,,,,`, `[""""`}
	for i := range len(body) {
		if i > 60 && i < len(body)-60 { // inside the block all places are alike
			continue
		}
		texts = append(texts, body[:i], body[i:], body[i:]+body[:i], body[:i]+body[i+1:])
	}
	for _, text := range texts {
		for name, step := range map[string]func(*walker){
			"accept": func(w *walker) { w.accept('{') },
			"text":   func(w *walker) { w.text() },
			"value":  func(w *walker) { w.value() },
			"blocks": func(w *walker) { w.blocks(1, Origin{}) },
		} {
			w := walker{[]byte(text)}
			before := -1
			for range len(text) + 1 {
				if step(&w); len(w.rest) == before {
					break // nothing was left, or nothing that it takes
				}
				before = len(w.rest)
			}
			if !strings.HasSuffix(text, string(w.rest)) {
				t.Errorf("%s of %.40q went somewhere else: %.40q", name, text, w.rest)
			}
		}
	}
}

func TestReadAll(t *testing.T) {
	text := strings.Repeat("0123456789", 10)
	for _, c := range []struct {
		size int
		want error
	}{{101, nil}, {200, nil}, {100, errOversized}, {99, errOversized}, {1, errOversized}} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain":    func(r io.Reader) io.Reader { return r },
			"one byte": iotest.OneByteReader,
			"half":     iotest.HalfReader,
			"data+EOF": iotest.DataErrReader,
		} {
			buf := make([]byte, c.size)
			n, err := readAll(wrap(strings.NewReader(text)), buf)
			if err != c.want {
				t.Errorf("%s into %d bytes: %v, want %v", name, c.size, err, c.want)
			}
			if string(buf[:n]) != text[:n] || err == nil && n != len(text) {
				t.Errorf("%s into %d bytes: %q", name, c.size, buf[:n])
			}
		}
	}
	boom := fmt.Errorf("boom")
	r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(boom))
	if n, err := readAll(r, make([]byte, 200)); n != 100 || err != boom {
		t.Errorf("%d bytes and %v, want 100 and the reader's error", n, err)
	}
}

// The longest honest answer has room, and little more does.
func TestMaxAnswer(t *testing.T) {
	for _, n := range []int{1, 2, 8, MaxBlocks} {
		var indented bytes.Buffer
		body := answerWith(DialectQuantumEntropy, noise(1, n)...)
		if err := json.Indent(&indented, body, "        ", "        "); err != nil {
			t.Fatal(err)
		}
		most := maxAnswer(n)
		if indented.Len() > most || most > 3*len(body)+8<<10 {
			t.Errorf("%d blocks: an answer of %d bytes, %d indented, and room for %d", n, len(body), indented.Len(), most)
		}
	}
}
