package qrypt

import (
	"errors"
	"fmt"
	"strings"
)

// The oracle is a second parser of answers, slow and obvious, for the fuzz
// targets: written from the service's document and RFC 8259 and 4648, with no
// code shared with parseAnswer or with what that stands on. The two agree on
// every text, in both directions.
//
// Where the product asks for more than the document does, the oracle does too,
// and says why in oracleAnswer. In one thing both ask for less than RFC 8259:
// that strings are UTF-8. Only names and values that are passed over could
// have anything else.

// What the oracle makes of a JSON text.
type (
	oracleString  string // what was between the quotes, as it was
	oracleNumber  string
	oracleLiteral string // true, false, null
	oracleArray   []any
	oracleObject  []oracleField
	oracleField   struct {
		name  oracleString
		value any
	}
)

// oracleDepth is how deep arrays and objects may be nested. It is the limit of
// encoding/json; RFC 8259 section 9 allows one.
const oracleDepth = 10_000

type oracleReader struct {
	text string
	at   int
}

// next returns the next byte without taking it, 0 at the end. (A zero byte is
// in no JSON text but within strings, where it is refused.)
func (r *oracleReader) next() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *oracleReader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\n\r", r.text[r.at]) >= 0 {
		r.at++
	}
}

// take steps over white space, c and white space, if c is what comes.
func (r *oracleReader) accept(c byte) bool {
	r.space()
	if r.next() != c {
		return false
	}
	r.at++
	r.space()
	return true
}

// value reads a value (section 3) inside so many others.
func (r *oracleReader) value(depth int) (v any, ok bool) {
	r.space()
	switch c := r.next(); {
	case c == '{' || c == '[':
		if depth == oracleDepth {
			return nil, false
		}
		if c == '{' {
			return r.object(depth + 1)
		}
		return r.array(depth + 1)
	case c == '"':
		return r.str()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(r.text[r.at:], word) {
			r.at += len(word)
			return oracleLiteral(word), true
		}
	}
	return nil, false
}

// object is section 4.
func (r *oracleReader) object(depth int) (any, bool) {
	var all oracleObject
	r.accept('{')
	if r.accept('}') {
		return all, true
	}
	for {
		name, ok := r.str()
		if !ok || !r.accept(':') {
			return nil, false
		}
		v, ok := r.value(depth)
		if !ok {
			return nil, false
		}
		all = append(all, oracleField{name, v})
		if r.accept('}') {
			return all, true
		}
		if !r.accept(',') {
			return nil, false
		}
	}
}

// array is section 5.
func (r *oracleReader) array(depth int) (any, bool) {
	var all oracleArray
	r.accept('[')
	if r.accept(']') {
		return all, true
	}
	for {
		v, ok := r.value(depth)
		if !ok {
			return nil, false
		}
		all = append(all, v)
		if r.accept(']') {
			return all, true
		}
		if !r.accept(',') {
			return nil, false
		}
	}
}

// number is section 6.
func (r *oracleReader) number() (any, bool) {
	start := r.at
	digits := func() (n int) {
		for ; r.next() >= '0' && r.next() <= '9'; n++ {
			r.at++
		}
		return n
	}
	if r.next() == '-' {
		r.at++
	}
	zero := r.next() == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return nil, false
	}
	if r.next() == '.' {
		r.at++
		if digits() == 0 {
			return nil, false
		}
	}
	if r.next() == 'e' || r.next() == 'E' {
		r.at++
		if r.next() == '+' || r.next() == '-' {
			r.at++
		}
		if digits() == 0 {
			return nil, false
		}
	}
	return oracleNumber(r.text[start:r.at]), true
}

// str is section 7.
func (r *oracleReader) str() (oracleString, bool) {
	if r.next() != '"' {
		return "", false
	}
	r.at++
	start := r.at
	for r.at < len(r.text) {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '"':
			return oracleString(r.text[start : r.at-1]), true
		case c < ' ':
			return "", false
		case c == '\\':
			escape := r.next()
			if escape == 0 || strings.IndexByte(`"\/bfnrtu`, escape) < 0 {
				return "", false
			}
			r.at++
			for range 4 {
				if escape != 'u' {
					break
				}
				if _, ok := hexDigit(r.next()); !ok {
					return "", false
				}
				r.at++
			}
		}
	}
	return "", false
}

func hexDigit(c byte) (rune, bool) {
	i := strings.IndexByte("0123456789abcdef", c|0x20)
	return rune(i), i >= 0 && c > ' '
}

// plain undoes the escapes. Those that stand for no one ASCII character are of
// no use to base64, and become U+FFFD.
func (s oracleString) plain() string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		code := rune(s[i])
		switch s[i] {
		case 'b', 'f', 'n', 'r', 't':
			code = 0xfffd
		case 'u':
			code = 0
			for _, c := range []byte(s[i+1 : i+5]) {
				digit, _ := hexDigit(c)
				code = code<<4 | digit
			}
			i += 4
			if code > '~' {
				code = 0xfffd
			}
		}
		b.WriteRune(code)
	}
	return b.String()
}

// oracleBase64 is RFC 4648 section 4, bit by bit.
func oracleBase64(text string) ([]byte, error) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" // table 1
	if len(text)%4 != 0 {
		return nil, errors.New("no whole groups")
	}
	pads := len(text) - len(strings.TrimRight(text, "="))
	if pads > 2 {
		return nil, errors.New("too many pads")
	}
	var bits strings.Builder
	for _, c := range []byte(text[:len(text)-pads]) {
		digit := strings.IndexByte(digits, c)
		if digit < 0 {
			return nil, errors.New("a character of no meaning")
		}
		fmt.Fprintf(&bits, "%06b", digit)
	}
	all := bits.String()
	// Each pad is for a group of eight bits that is missing: two are left over.
	if strings.Trim(all[len(all)-2*pads:], "0") != "" {
		return nil, errors.New("bits left over") // section 3.5
	}
	all = all[:len(all)-2*pads]
	out := make([]byte, 0, len(all)/8)
	for i := 0; i < len(all); i += 8 {
		c := byte(0)
		for _, bit := range all[i : i+8] {
			c = c<<1 | byte(bit-'0')
		}
		out = append(out, c)
	}
	return out, nil
}

// oracleAnswer says which n blocks are in an answer, or why it is none.
func oracleAnswer(body []byte, d Dialect, n int) ([][]byte, error) {
	r := &oracleReader{text: string(body)}
	v, ok := r.value(0)
	if r.space(); !ok || r.at != len(r.text) {
		return nil, errors.New("not JSON")
	}
	fields, ok := v.(oracleObject)
	if !ok {
		return nil, errors.New("no object")
	}
	// An object of the service has two fields. Sixteen leave room for more, and
	// bound what it costs to look for the same one twice.
	if len(fields) > 16 {
		return nil, errors.New("too many fields")
	}
	found := make(map[oracleString]any)
	for _, f := range fields {
		// A name that needs an escape is another way to write a name, by which
		// two parsers could see two answers in one.
		if strings.Contains(string(f.name), `\`) || len(f.name) > 64 {
			return nil, errors.New("an odd name")
		}
		// RFC 8259 only says that names should be unique.
		if _, twice := found[f.name]; twice {
			return nil, errors.New("a field twice")
		}
		found[f.name] = f.value
	}

	list := found["random"]
	if d == DialectOpenAPI {
		list = found["entropy"]
	} else if found["size"] != oracleNumber(fmt.Sprint(n)) {
		// The document has an integer. 2.0 and 2e0 are that in JSON, but no
		// program writes a count so.
		return nil, errors.New("another size")
	}
	array, ok := list.(oracleArray)
	if !ok || len(array) != n {
		return nil, errors.New("another number of blocks")
	}
	blocks := make([][]byte, n)
	for i, v := range array {
		s, ok := v.(oracleString)
		if !ok {
			return nil, errors.New("a block is no string")
		}
		block, err := oracleBase64(s.plain())
		if err != nil {
			return nil, err
		}
		if len(block) != 1024 {
			return nil, errors.New("a block of another length")
		}
		blocks[i] = block
	}
	return blocks, nil
}
