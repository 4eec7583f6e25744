//go:build unix

package transparency

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// maxWait is how long a request waits for a proof. It is less than relay.Serve gives it.
const maxWait = 20 * time.Second

// Handler serves a log: everybody may read its checkpoint, tiles and proofs, and the clients
// of the list may add envelopes. Serve it with relay.Serve, which bounds what a connection
// costs. If the list is nil, nobody may add. The origin is the address of the log without https://,
// so requests below its path are served, and those without it, too: a proxy may have taken it
// off. docs/transparency.md describes the requests.
func Handler(l *Log, list *clients.List, logger *slog.Logger) http.Handler {
	return (&server{l, list, logger, maxWait}).handler()
}

type server struct {
	log    *Log
	list   *clients.List
	logger *slog.Logger
	wait   time.Duration
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", s.checkpoint)
	mux.HandleFunc("GET /tile/", s.tile)
	mux.HandleFunc("GET /proof/{hash}", s.proof)
	mux.HandleFunc("POST /add", s.add)
	_, path, _ := strings.Cut(s.log.Origin(), "/")
	below := http.StripPrefix("/"+path, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path != "" && strings.HasPrefix(r.URL.Path, "/"+path+"/") {
			below.ServeHTTP(w, r)
		} else {
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *server) checkpoint(w http.ResponseWriter, r *http.Request) {
	text, err := s.log.Head(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	answer(w, http.StatusOK, text)
}

// tile gives what the published checkpoint covers, also partial tiles that are only in wider
// ones now.
func (s *server) tile(w http.ResponseWriter, r *http.Request) {
	t, err := parseTilePath(r.URL.Path[1:])
	if err == nil {
		var h head
		h, err = s.log.readHead(r.Context())
		if n := h.Size >> (tileHeight * max(t.L, 0)); err == nil && t.N*tileWidth+int64(t.W) > n {
			err = fs.ErrNotExist
		}
	}
	var data []byte
	if err == nil {
		data, err = readTile(r.Context(), s.log.tiles, t)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(data)
}

func (s *server) proof(w http.ResponseWriter, r *http.Request) {
	b, err := hex.DecodeString(r.PathValue("hash"))
	if err != nil || len(b) != tlog.HashSize {
		answer(w, http.StatusBadRequest, "not the hash of an entry: write 64 hexadecimal digits\n")
		return
	}
	leaf, err := s.log.leaf(r.Context(), tlog.Hash(b))
	s.prove(w, r, leaf, err)
}

func (s *server) add(w http.ResponseWriter, r *http.Request) {
	if s.list == nil {
		answer(w, http.StatusForbidden, "nobody may add to this log here\n")
		return
	}
	member, err := s.list.Identify(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, "this is not a client's token, or it has expired\n")
		return
	}
	relay.Known(r)
	if _, _, wait := member.Charge(0, time.Now()); wait > 0 { // of entropy, nothing
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		answer(w, http.StatusTooManyRequests, "too many requests\n")
		return
	}
	leaf, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxEntry))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		answer(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("an entry has at most %d bytes\n", MaxEntry))
		return
	} else if err != nil {
		answer(w, http.StatusBadRequest, "the envelope was cut off\n")
		return
	}
	indexes, err := s.log.Add(r.Context(), leaf)
	if err == nil {
		s.logger.Info("transparency: there is an entry", "client", member.Name, "index", indexes[0])
	}
	s.prove(w, r, leaf, err)
}

// prove answers with a proof, unless there was an error before.
func (s *server) prove(w http.ResponseWriter, r *http.Request, leaf []byte, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.wait)
	defer cancel()
	var p *tlogproof.Proof
	if err == nil {
		p, err = s.log.Prove(ctx, leaf)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, http.StatusOK, string(p.Encode()))
}

func (s *server) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrRefused):
		answer(w, http.StatusBadRequest, err.Error()+"\n")
	case errors.Is(err, ErrPending):
		s.logger.Warn("transparency: an entry waits for a checkpoint", "error", err.Error())
		w.Header().Set("Retry-After", "60")
		answer(w, http.StatusAccepted, "pending: the entry is in the log, but the witnesses have not cosigned it yet\n")
	case errors.Is(err, ErrUnknown), errors.Is(err, fs.ErrNotExist):
		answer(w, http.StatusNotFound, "not in the log\n")
	default:
		s.logger.Error("transparency: a request failed", "error", err.Error())
		answer(w, http.StatusServiceUnavailable, "the log has a problem, see its own log\n")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}
