package relay

import (
	"cmp"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// A level is how bad something is; its value is a class in the stylesheet.
type level string

const (
	levelGood level = "good"
	levelWait level = "wait"
	levelWarn level = "warn"
	levelBad  level = "bad"
)

// A headline is the state in one line, for somebody who was just woken up.
type headline struct {
	Level  level
	Word   string // of the browser's tab
	Title  string
	Since  time.Time // zero: not known
	Detail string
	Advice string // what may help; empty: nothing, or nothing is amiss
}

func (v *view) headline() headline {
	up := v.Upstream
	why := v.Reason()
	out := "Out of stock: clients get 503"
	if v.Account.Stock > 0 { // what is left of a block
		out = "Out of whole blocks: most clients get 503"
	}
	switch none := v.Account.Stock < qrypt.BlockSize; {
	case none && v.Starting():
		return headline{
			Level: levelWait, Word: "Starting", Title: "Starting: no entropy yet, clients get 503", Since: v.Began,
			Detail: "The service has not answered yet.",
		}
	case none && up.Up:
		return headline{
			Level: levelBad, Word: "Out of stock", Title: out, Since: v.emptySince,
			Detail: "The service answers, but clients take what it gives at once.",
			Advice: "The clients table shows who takes how much: a quota or a lower rate limit holds one back. A larger --stock carries longer peaks.",
		}
	case none:
		return headline{
			Level: levelBad, Word: "Out of stock", Title: out, Since: v.emptySince,
			Detail: "The service fails: " + why + "; " + v.Next() + ".", Advice: advice[up.Reason],
		}
	case !up.Up:
		return headline{
			Level: levelWarn, Word: "Service fails", Title: "Handing out from stock; the service fails: " + why + ", " + v.Next(), Since: up.Since,
			Detail: v.Lasts(), Advice: advice[up.Reason],
		}
	}
	h := headline{
		Level: levelGood, Word: "OK", Title: "Handing out entropy", Since: up.Since,
		Detail: "The service answers. " + v.Lasts(),
	}
	if up.Emulated { // which is well in a test, and nowhere else
		h.Level, h.Word, h.Title = levelWarn, "Emulated", "Handing out emulated entropy"
	}
	return h
}

// Reason is why the service does not give anything; empty if it does.
func (v *view) Reason() string { return cmp.Or(v.Upstream.Reason.String(), string(v.Upstream.Reason)) }

// Starting is before the first request to the service has ended.
func (v *view) Starting() bool { return v.Upstream.Reason == "" && v.Upstream.LastAnswer.IsZero() }

// advice is where to look first, for each reason for which a request fails.
var advice = map[qrand.Reason]string{
	qrand.RateLimited:  "The account's token is used elsewhere too, or its limit is lower than documented. The relay slows down by itself.",
	qrand.NoSupply:     "The service has no entropy to give. The relay goes on asking.",
	qrand.ServerError:  "The fault is the service's. The relay goes on asking; see the service's own status.",
	qrand.Unreachable:  "Look at this host's network, DNS and firewall, and at QRYPT_ENDPOINTS.",
	qrand.TLSFailed:    "Look at this host's clock, at QRYPT_CA_FILE, and at proxies in between.",
	qrand.TimedOut:     "Look at this host's network, and at proxies in between.",
	qrand.QuotaReached: "The account has used its quota. Raise it with the service, or use another account's token.",
	qrand.Unauthorized: "The token has expired or was revoked. Put a new one in QRYPT_TOKEN_FILE, which is read again, or restart with a new QRYPT_TOKEN.",
	qrand.NoToken:      "Look whether the file in QRYPT_TOKEN_FILE is there and can be read.",
	qrand.BadRequest:   "Look at QRYPT_ENDPOINTS and QRYPT_DIALECT: this may not be the service that they are for.",
	qrand.Malformed:    "Something else than the service may answer, such as a proxy. Look at QRYPT_ENDPOINTS and QRYPT_DIALECT.",
	qrand.Redirected:   "Redirects are not followed, lest the token go elsewhere. Put the address that is meant in QRYPT_ENDPOINTS.",
	qrand.Unhealthy:    "The service gave blocks that are not random enough; they were wiped. Tell the service's operators.",
	qrand.Repeated:     "The service gave a block twice, as a cache in between would; the answer was wiped. Look for proxies.",
	qrand.TooOld:       "The blocks come from a relay that keeps them for longer than --max-age here. Give it a shorter --max-age of its own.",
	qrand.Failed:       "The log and the last error below may say more.",
}
