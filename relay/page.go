package relay

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"

	"example.com/qrand/internal/clock"
)

// stylePath is public: the stylesheet tells nothing.
const stylePath = "/style.css"

var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS []byte

	pageTemplate = template.Must(template.New("page").Funcs(pageFuncs).Parse(pageHTML))

	// styleVersion lets browsers keep the stylesheet and not miss another.
	styleVersion = func() string {
		sum := sha256.Sum256(styleCSS)
		return hex.EncodeToString(sum[:4])
	}()
)

// pageRefresh is how often the page loads itself anew, in seconds.
const pageRefresh = 5

// pagePolicy lets the page have its stylesheet and its icon. It has no script,
// no form and no frame, and what is slipped into it can have none either.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// servePage shows an operator how the relay is doing. With refresh=off in the
// query it stays as it is.
func (r *Relay) servePage(w http.ResponseWriter, req *http.Request) {
	v := r.view(clock.Now())
	v.Refresh = req.URL.Query().Get("refresh") != "off"
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		r.cfg.Logger.Error("relay: the status page cannot be shown", "error", err.Error())
		say(w, http.StatusInternalServerError, "the status page cannot be shown: the log says why")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	if v.Refresh {
		h.Set("Refresh", strconv.Itoa(pageRefresh))
	}
	w.Write(page.Bytes())
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(styleCSS)))
	h.Set("Cache-Control", "max-age=86400")
	w.Write(styleCSS)
}
