package qrypt

import (
	"crypto/tls"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"
)

// A caller's client is changed, in a copy, so that it makes one request of each
// of ours: net/http may repeat one on a kept connection.
func TestCustomClientIsMadeSingle(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, custom := range map[string]*http.Client{
		"no transport":  {Jar: jar, Timeout: time.Minute},
		"bare":          {Jar: jar, Timeout: time.Minute, Transport: &http.Transport{}},
		"TLS of theirs": {Jar: jar, Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: "x"}}},
	} {
		c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: custom})
		transport := c.http.Transport.(*http.Transport)
		if !transport.DisableKeepAlives || transport.TLSClientConfig.Rand != tlsRand || c.http.Jar != nil || c.http.Timeout != time.Minute {
			t.Errorf("%s: connections or cookies are kept, or its settings are not", name)
		}
		theirs, ok := custom.Transport.(*http.Transport)
		if custom.Jar == nil || custom.CheckRedirect != nil || ok && (theirs.DisableKeepAlives || theirs == transport) {
			t.Errorf("%s: the caller's own client was changed", name)
		}
		if name == "TLS of theirs" && transport.TLSClientConfig.ServerName != "x" {
			t.Errorf("%s: its TLS settings are lost", name)
		}
	}
}
