package qrypt

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A secret leaks where leakWindow of its bytes in a row show. Looking at every
// leakStep-th of those windows finds any text that shows leakLeast bytes.
const (
	leakWindow = 8
	leakStep   = 4
	leakLeast  = leakWindow + leakStep - 1
)

// printings is v in every form in which a program might log or print it.
func printings(v any) map[string]string {
	all := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%t"} {
		all[verb] = fmt.Sprintf(verb, v)
	}
	all["print"] = fmt.Sprint(v)
	if text, err := json.Marshal(v); err == nil {
		all["json"] = string(text)
	}
	var buf bytes.Buffer
	logTo := map[string]slog.Handler{
		"slog text": slog.NewTextHandler(&buf, nil),
		"slog json": slog.NewJSONHandler(&buf, nil),
	}
	for name, handler := range logTo {
		buf.Reset()
		logger := slog.New(handler)
		logger.Info("message", "value", v)
		logger.With("with", v).Info("message", slog.Group("group", slog.Any("value", v)))
		all[name] = buf.String()
	}
	return all
}

// traces are the ways in which eight bytes show in text.
func traces(p []byte) []string {
	decimal := make([]string, len(p))
	hexes := make([]string, len(p))
	for i, c := range p {
		decimal[i] = strconv.Itoa(int(c))
		hexes[i] = fmt.Sprintf("%#x", c)
	}
	quoted := strconv.Quote(string(p))
	all := []string{
		string(p),
		quoted[1 : len(quoted)-1],
		hex.EncodeToString(p),
		strings.ToUpper(hex.EncodeToString(p)),
		fmt.Sprintf("% x", p),
		fmt.Sprintf("% X", p),
		strings.Join(decimal, " "),
		strings.Join(decimal, ", "),
		strings.Join(decimal, ","),
		strings.Join(hexes, ", "),
	}
	// In base64 the bytes may begin at any of three places of a group. The
	// characters that they share with their neighbours are left out.
	for lead := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, lead), p...))
			first := (lead*8 + 5) / 6
			last := (lead + len(p)) * 8 / 6
			all = append(all, text[first:last])
		}
	}
	return all
}

// leaks returns the first form of v that shows a part of secret, or "".
func leaks(v any, secret []byte) string {
	texts := printings(v)
	for i := 0; i+leakWindow <= len(secret); i += leakStep {
		for _, trace := range traces(secret[i : i+leakWindow]) {
			for form, text := range texts {
				if strings.Contains(text, trace) {
					return fmt.Sprintf("%s shows bytes %d to %d of the secret", form, i, i+leakWindow)
				}
			}
		}
	}
	return ""
}

// checkSilent fails the test if a form of v shows a part of a secret.
func checkSilent(t testing.TB, v any, secrets ...[]byte) {
	t.Helper()
	for _, secret := range secrets {
		if len(secret) < leakLeast {
			t.Fatalf("a secret of %d bytes is too short to look for", len(secret))
		}
		if leak := leaks(v, secret); leak != "" {
			t.Errorf("%T: %s", v, leak)
		}
	}
}

// A search that finds nothing proves nothing unless it can find.
func TestLeaksFindsSecrets(t *testing.T) {
	type holder struct{ Inside any }
	for _, secret := range [][]byte{canary, []byte("J5QK2M7VXW4T6NAZ3RB")} {
		std, url := base64.StdEncoding, base64.URLEncoding
		for _, v := range []any{
			secret,
			holder{secret},
			&holder{secret},
			[BlockSize]byte(append(bytes.Clone(secret), make([]byte, BlockSize-len(secret))...)),
			string(secret),
			errors.New("before" + string(secret[3:3+leakLeast]) + "after"),
			fmt.Errorf("malformed %q", secret),
			hex.EncodeToString(secret),
			fmt.Sprintf("%#v", secret),
			std.EncodeToString(secret),
			std.EncodeToString(append([]byte("1"), secret...)),
			url.EncodeToString(append([]byte("12"), secret...)),
			slog.StringValue(string(secret)),
		} {
			if leaks(v, secret) == "" {
				t.Errorf("nothing found in %T %v", v, v)
			}
		}
		if leak := leaks("something else entirely", secret); leak != "" {
			t.Error(leak)
		}
	}
}

func TestPrintingShowsNoSecret(t *testing.T) {
	const token = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"
	sent := noise(1, 2)
	h := roundTrip(func(*http.Request) (*http.Response, error) {
		return reply(http.StatusOK, answerWith(DialectQuantumEntropy, sent...)), nil
	}).client()
	cfg := Config{Token: StaticToken(token), HTTPClient: h}
	c := mustNew(t, cfg)
	blocks := mustBlocks(t, c, 2)
	block := blocks[0]

	type hidden struct{ b Block }
	type shown struct {
		B    Block
		List []Block
		P    *Block
	}
	for _, v := range []any{
		cfg, &cfg, c, reflect.ValueOf(c).Elem().Interface(), // *c, as vet would not have it
		block, &block, blocks, &blocks, [2]Block{block, block},
		hidden{block}, &hidden{block}, []hidden{{block}}, map[string]hidden{"": {block}},
		shown{block, blocks, &block}, &shown{block, blocks, &block}, map[string]Block{"": block},
		any(block), []any{block, c, cfg}, Block{}, Config{}, (*Client).GoString(c),
	} {
		checkSilent(t, v, []byte(token), sent[0][:32], sent[0][BlockSize-32:])
	}
}

// Every error that the tests meet goes through checkSilent in mustFail. These
// are those that hold most.
func TestErrorShowsItsFieldsOnly(t *testing.T) {
	e := &Error{
		Endpoint:   "https://there",
		StatusCode: 429,
		RetryAfter: 7 * time.Second,
		Class:      ErrRateLimited,
		Detail:     "detail",
		cause:      errors.New("cause"),
	}
	const want = "qrypt: https://there: too many requests: there has a limit of its own: ask whoever runs it: " +
		"detail: cause (HTTP 429), retry after 7s"
	if got := e.Error(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	e = &Error{Endpoint: "https://there", StatusCode: 200, Class: ErrMalformed}
	if got, want := e.Error(), "qrypt: https://there: the answer is malformed: no byte of it was used"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestBlockPrintsItsOrigin(t *testing.T) {
	b, err := NewBlock(noise(1, 1)[0], Origin{Endpoint: "https://there"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "qrypt.Block(redacted, from https://there)"
	for form, text := range printings(b) {
		switch form {
		case "json":
			if text != "{}" {
				t.Errorf("%s: %s", form, text)
			}
		default:
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s, want %s", form, text, want)
			}
		}
	}
}
