package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// agePrefixes are those of age's keys (C2SP age.md, "Native recipient types"), by the name
// of the algorithm. age calls X-Wing MLKEM768-X25519, and its keys post-quantum.
var agePrefixes = map[string]struct{ identity, recipient string }{
	"x25519": {"AGE-SECRET-KEY-", "age"},
	"x-wing": {"AGE-SECRET-KEY-PQ-", "age1pq"},
}

// PrivateAge is an X25519 or X-Wing key as an identity of age, in one line.
func PrivateAge(key any) ([]byte, error) {
	p, ok := agePrefixes[Name(key)]
	if !ok {
		return nil, errNoAge(key)
	}
	private, err := PrivateRaw(key)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	return bech32(p.identity, private), nil
}

// PublicAge is an X25519 or X-Wing public key as a recipient of age, in one line.
func PublicAge(public any) ([]byte, error) {
	p, ok := agePrefixes[Name(public)]
	if !ok {
		return nil, errNoAge(public)
	}
	raw, err := PublicRaw(public)
	if err != nil {
		return nil, err
	}
	return bech32(p.recipient, raw), nil
}

func errNoAge(key any) error {
	if Name(key) == "" {
		return errType(key)
	}
	return fmt.Errorf("keyfile: age has no form for %s, only for x25519 and x-wing", Name(key))
}

// ageLine is how a line with a key of age begins.
var ageLine = regexp.MustCompile(`(?m)^(AGE-|age1)`)

// parseAge reads an identity or a recipient. Around it may be empty lines and comments, as
// age-keygen writes them.
func parseAge(data []byte) (*File, error) {
	var key []byte
	for line := range bytes.Lines(data) {
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 || line[0] == '#':
		case key != nil:
			return nil, errors.New("keyfile: more than one age key in the file: give one")
		default:
			key = line
		}
	}
	for name, p := range agePrefixes {
		for kind, prefix := range map[Kind]string{KindPrivate: p.identity, KindPublic: p.recipient} {
			if i := bytes.LastIndexByte(key, '1'); i < 0 || string(key[:i]) != prefix {
				continue
			}
			raw, ok := fromBech32(prefix, key)
			defer clear(raw)
			if !ok {
				return nil, errors.New("keyfile: an age key with a checksum that is wrong: a character was changed or lost")
			}
			return ParseRaw(name, kind, raw)
		}
	}
	return nil, errors.New("keyfile: an age key of a type that is not read: AGE-SECRET-KEY-1, AGE-SECRET-KEY-PQ-1, age1 and age1pq1 are")
}

// bech32Digits are those of BIP 173, in the case of the prefix.
func bech32Digits(prefix string) string {
	const digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	if prefix == strings.ToUpper(prefix) {
		return strings.ToUpper(digits)
	}
	return digits
}

// bech32 is data in Bech32 (BIP 173) without its limit on the length, and a newline.
func bech32(prefix string, data []byte) []byte {
	line := make([]byte, 0, len(prefix)+1+(8*len(data)+4)/5+6+1) // never grows: growing would leave copies
	line = append(append(line, prefix...), '1')
	digits := bech32Digits(prefix)
	sum := uint32(1)
	lower := []byte(strings.ToLower(prefix))
	for _, c := range lower {
		sum = bech32Step(sum, c>>5)
	}
	sum = bech32Step(sum, 0)
	for _, c := range lower {
		sum = bech32Step(sum, c&31)
	}
	add := func(digit byte) {
		line = append(line, digits[digit])
		sum = bech32Step(sum, digit)
	}
	bits, n := uint(0), 0
	for _, b := range data {
		for bits, n = bits<<8|uint(b), n+8; n >= 5; n -= 5 {
			add(byte(bits>>(n-5)) & 31)
		}
		bits &= 1<<n - 1
	}
	if n > 0 {
		add(byte(bits<<(5-n)) & 31)
	}
	for range 6 {
		sum = bech32Step(sum, 0)
	}
	sum ^= 1
	for i := 25; i >= 0; i -= 5 {
		line = append(line, digits[sum>>i&31])
	}
	return append(line, '\n')
}

// bech32Step takes one more digit into the checksum.
func bech32Step(sum uint32, digit byte) uint32 {
	top := sum >> 25
	sum = sum&(1<<25-1)<<5 ^ uint32(digit)
	for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			sum ^= g
		}
	}
	return sum
}

// fromBech32 reads what bech32 wrote, and no other spelling of it. It also returns what it
// read until it failed, because that must be wiped, too.
func fromBech32(prefix string, line []byte) (data []byte, ok bool) {
	digits := line[len(prefix)+1:]
	if len(digits) < 6 {
		return nil, false
	}
	digits = digits[:len(digits)-6]
	data = make([]byte, 0, 5*len(digits)/8)
	bits, n := uint(0), 0
	for _, c := range digits {
		digit := strings.IndexByte(bech32Digits(prefix), c)
		if digit < 0 {
			return data, false
		}
		if bits, n = bits<<5|uint(digit), n+5; n >= 8 {
			n -= 8
			data = append(data, byte(bits>>n))
			bits &= 1<<n - 1
		}
	}
	again := bech32(prefix, data)
	defer clear(again)
	return data, bytes.Equal(again[:len(again)-1], line)
}
