package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

func TestClock(t *testing.T) {
	for _, test := range []struct {
		skew time.Duration // the service's clock, from ours
		want status
		text string
	}{
		{0, ok, "within a minute"},
		{-30 * time.Second, ok, "within a minute"},
		{-time.Hour, warn, "1h0m0s ahead of"},
		{3 * time.Minute, warn, "behind"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
		}))
		var clock clock
		client := http.Client{Transport: &clockReader{next: &http.Transport{DisableKeepAlives: true}, clock: &clock}}
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		server.Close()
		r := &report{show: func(check) {}}
		clock.check(r, true)
		got := r.checks[0]
		// A Date has no fractions, and the request took its time.
		if text := strings.ReplaceAll(got.Detail, "1h0m1s", "1h0m0s"); got.Status != test.want || !strings.Contains(text, test.text) {
			t.Errorf("%v: %+v, want %s and %q", test.skew, got, test.want, test.text)
		}
	}
}

// TestFetchAdvice: the doctor has advice for each kind of fault.
func TestFetchAdvice(t *testing.T) {
	server := serve(t, qrypttest.Config{Rate: -1})
	for script, want := range map[string]string{
		"401":                 "is one for 127.0.0.1:",
		"403":                 "for a larger quota",
		"429":                 "find out who else uses this token, or ask whoever runs 127.0.0.1:",
		"429 retry-after=7s":  "retry after 7s",
		"503":                 "nothing to do here",
		"500":                 "nothing to do here",
		"404":                 "QRYPT_DIALECT",
		"redirect":            "login page",
		"html":                "other than the service may answer",
		"stuck":               "does not look random",
		"short-body":          "cut short",
		"ok":                  "with --rehearsal",
		"expired-certificate": "check the clock of this host",
	} {
		server.ClearScript()
		faults, err := qrypttest.ParseScript(script)
		if err != nil {
			t.Fatal(err)
		}
		server.Script(faults...)
		c, out, errs := screen(false, nil)
		status := execute(t.Context(), []string{"doctor"}, c)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: no %q in:\n%s", script, want, out)
		}
		if good := script == "ok"; (status == exitOK) != good || errs.Len() > 0 {
			t.Errorf("%s: status %d, stderr %q", script, status, errs)
		}
	}
}

// TestDoctorOnOldBlocks: the doctor warns of a relay that keeps blocks for too long.
func TestDoctorOnOldBlocks(t *testing.T) {
	for age, old := range map[string]bool{"599": false, "601": true} {
		serveUnlabelled(t, func(_ int, h http.Header) { h.Set("Age", age) })
		c, out, errs := screen(false, nil)
		status := execute(t.Context(), []string{"doctor"}, c)
		told := strings.Contains(out.String(), "s, 10m1s old\n") && strings.Contains(out.String(), "a relay keeps blocks for too long")
		if status != exitOK || told != old || !strings.Contains(out.String(), "1 block in ") {
			t.Errorf("Age %s: status %d, %s, it is reported: %t:\n%s", age, status, errs, told, out)
		}
	}
}

// TestCheckGo: the doctor tells what this program does under its GODEBUG.
func TestCheckGo(t *testing.T) {
	for godebug, want := range map[string]string{
		"cryptocustomrand=0": "ignore the reader",
		"cryptocustomrand=1": "makes keys from the reader",
	} {
		t.Setenv("GODEBUG", godebug)
		r := &report{show: func(check) {}}
		checkGo(r)
		got := r.checks[0]
		if got.Status != ok || !strings.Contains(got.Detail, want) || !strings.Contains(got.Detail, "keygen") {
			t.Errorf("GODEBUG=%s: %+v, want %q", godebug, got, want)
		}
	}
}

func jwt(header, claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}

func TestDescribeToken(t *testing.T) {
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC) // 1903867200
	const head = `{"alg":"RS256","typ":"JWT"}`
	for _, test := range []struct {
		name, token string
		want        status
		text        string
	}{
		{"opaque", "abcdefghij", ok, "10 characters"},
		{"empty", "", fail, "empty"},
		{"with its scheme", "Bearer abc", fail, "Bearer"},
		{"two words", "abc def", fail, "cannot be in an HTTP header"},
		{"two lines", "abc\ndef", fail, "cannot be in an HTTP header"},
		{"no ASCII", "abcé", fail, "cannot be in an HTTP header"},
		{"a book", strings.Repeat("a", maxTokenLen+1), fail, "more than a token has"},
		{"quoted", `"abcdef"`, warn, "quotes"},
		{"JWT, good for a year", jwt(head, `{"exp":1935403200}`), ok, "expires on 2031-05-01"},
		{"JWT, good for an hour", jwt(head, `{"exp":1903870800}`), warn, "expires soon, on 2030-05-01 13:00 UTC"},
		{"JWT, expired", jwt(head, `{"exp":1903867199}`), fail, "expired on 2030-05-01"},
		{"JWT, expires now", jwt(head, `{"exp":1903867200}`), fail, "expired on 2030-05-01"},
		{"JWT, with a fraction", jwt(head, `{"exp":1935403200.75}`), ok, "expires on 2031-05-01"},
		{"JWT, without exp", jwt(head, `{"sub":"x"}`), ok, "without expiry"},
		{"JWT, with a huge exp", jwt(head, `{"exp":1e300}`), ok, "without expiry"},
		{"no JWT: words with dots", "a.b.c", ok, "characters"},
		{"no JWT: no algorithm", jwt(`{}`, `{"exp":1}`), ok, "characters"},
		{"no JWT: exp is text", jwt(head, `{"exp":"soon"}`), ok, "characters"},
		{"no JWT: two parts", strings.TrimSuffix(jwt(head, `{"exp":1}`), ".c2lnbmF0dXJl"), ok, "characters"},
	} {
		got, detail, advice := describeToken(test.token, nil, now)
		if got != test.want || !strings.Contains(detail, test.text) {
			t.Errorf("%s: %s, %q, want %s and %q", test.name, got, detail, test.want, test.text)
		}
		if (got == ok) != (advice == "") {
			t.Errorf("%s: %s with advice %q", test.name, got, advice)
		}
		if test.want != ok || strings.HasPrefix(test.name, "no JWT") {
			if detail == "10 characters" || strings.Contains(detail, "without expiry") {
				t.Errorf("%s: %q", test.name, detail)
			}
		}
		if len(test.token) > 5 && strings.Contains(detail+advice, test.token) {
			t.Errorf("%s: the token is shown: %q", test.name, detail)
		}
	}
}

func TestTokenAdvice(t *testing.T) {
	for _, test := range []struct {
		endpoints []string
		want      string
	}{
		{nil, "generate one at https://portal.qrypt.com"},
		{[]string{qrypt.EndpointEUS, "https://API-WEU.QRYPT.COM:443"}, "generate one at https://portal.qrypt.com"},
		{[]string{"https://relay.example:8443", "https://[::1]:1"}, "ask whoever runs relay.example:8443 and [::1]:1 for one"},
		{[]string{"https://notqrypt.com"}, "ask whoever runs notqrypt.com for one"},
		{[]string{"https://api.qrypt.com.example"}, "ask whoever runs api.qrypt.com.example for one"},
		{[]string{"https://relay.example", qrypt.EndpointEUS}, "generate one at https://portal.qrypt.com, or ask whoever runs relay.example for one"},
	} {
		if got := tokenAdvice("one", test.endpoints); got != test.want {
			t.Errorf("%q: %q, want %q", test.endpoints, got, test.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "''",
		"/etc/ca.pem":                 "/etc/ca.pem",
		"https://a:1,https://[::1]:2": "'https://a:1,https://[::1]:2'",
		"/etc/my file":                "'/etc/my file'",
		"it's":                        `'it'\''s'`,
		"$(reboot)":                   "'$(reboot)'",
	} {
		if got := shellQuote(text); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", text, got, want)
		}
	}
}

// TestDoctorProxy: the doctor lets the proxy connect, and tells its refusals from those of
// the service.
func TestDoctorProxy(t *testing.T) {
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []int{200, 403, 407, 429, 502, 503} {
		const quoted = "a-text-of-the-proxy"
		var asked []string
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			asked = append(asked, req.Method+" "+req.Host)
			w.Header().Set("Proxy-Authenticate", quoted)
			http.Error(w, quoted, answer)
		}))
		cmd := exec.CommandContext(t.Context(), path, "doctor")
		cmd.Env = append(os.Environ(), qrypt.EnvEndpoints+"=https://service.invalid", qrypt.EnvToken+"=token-of-nobody-0123456789", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "LC_ALL=C")
		text, err := cmd.Output()
		proxy.Close()
		if err == nil {
			t.Errorf("%d: all is well:\n%s", answer, text)
		}
		want := []string{fmt.Sprintf("\nFAIL proxy       through %s: the service cannot be reached: no connection through the proxy: it answers HTTP %d to our CONNECT", proxy.URL[len("http://"):], answer), "\nskip fetch       not tried\n", "they go into HTTPS_PROXY"}
		if answer == 200 {
			want = []string{"\nok   proxy       through ", "\nFAIL fetch "}
		}
		lines := "\n" + string(text)
		for _, w := range want {
			if !strings.Contains(lines, w) {
				t.Errorf("%d: no %q in:\n%s", answer, w, text)
			}
		}
		if strings.Contains(string(text), quoted) || len(asked) == 0 || asked[0] != "CONNECT service.invalid:443" {
			t.Errorf("%d: the proxy was asked for %q, and this was said:\n%s", answer, asked, text)
		}
	}
}
