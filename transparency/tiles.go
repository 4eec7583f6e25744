package transparency

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.com/qrand/internal/loopback"
	"example.com/qrand/provenance/tlogproof"
)

// tileHeight and tileWidth are those of https://c2sp.org/tlog-tiles.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// MaxEntry is the most bytes of an entry: https://c2sp.org/tlog-tiles gives its length 16 bits.
const MaxEntry = 1<<16 - 1

const (
	tilesDir       = "tiles" // in the folder of a log: what everybody may read
	checkpointPath = "checkpoint"
	maxTile        = tileWidth * tlog.HashSize
	maxBundle      = tileWidth * (2 + MaxEntry)
	entriesLevel   = -1 // of a tlog.Tile that stands for a bundle of entries
)

// tilePath is where https://c2sp.org/tlog-tiles has a tile, or a bundle of entries.
func tilePath(t tlog.Tile) string {
	p := strings.TrimPrefix(t.Path(), "tile/8/")
	if t.L == entriesLevel {
		p = strings.Replace(p, "data", "entries", 1)
	}
	return "tile/" + p
}

// parseTilePath is the reverse of tilePath.
func parseTilePath(p string) (tlog.Tile, error) {
	rest, ok := strings.CutPrefix(p, "tile/")
	if entries, is := strings.CutPrefix(rest, "entries/"); is {
		rest = "data/" + entries
	} else if strings.HasPrefix(rest, "data/") {
		ok = false
	}
	t, err := tlog.ParseTilePath("tile/8/" + rest)
	if !ok || err != nil {
		return tlog.Tile{}, fs.ErrNotExist
	}
	return t, nil
}

// A source has the files of a log: those of a folder, or of a server.
type source interface {
	// read returns a file of at most that many bytes. The error wraps fs.ErrNotExist if there
	// is none.
	read(ctx context.Context, path string, most int) ([]byte, error)
}

// newSource returns the files of a log at an https URL (or one on this host), or in the
// folder of a log that Create made.
func newSource(at string) (source, error) {
	if !strings.Contains(at, "://") {
		if _, err := os.Stat(filepath.Join(at, tilesDir)); err != nil {
			return nil, fmt.Errorf("%s is not the folder of a log: %w", at, err)
		}
		return dirSource(filepath.Join(at, tilesDir)), nil
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback.Is(u.Hostname())) {
		return nil, errors.New("not the address of a log: write it like https://log.example/keys") // it may have a secret in it
	}
	return &httpSource{u, &http.Client{Timeout: time.Minute}}, nil
}

type httpSource struct {
	base   *url.URL
	client *http.Client
}

func (s *httpSource) read(ctx context.Context, p string, most int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(p).String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readAll(resp.Body, p, most)
	case http.StatusNotFound:
		return nil, fmt.Errorf("the log has no %s: %w", p, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("the log answers %d for %s", resp.StatusCode, p)
}

func readAll(r io.Reader, name string, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return data, err
}

// A dirSource is the folder that Tessera writes.
type dirSource string

func (s dirSource) read(_ context.Context, p string, most int) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(s), filepath.FromSlash(p)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, p, most)
}

// replacement is the tile that took the place of a partial one, by the published checkpoint.
// Other files may be there that are not in the tree: a process was killed when it appended.
func (s dirSource) replacement(ctx context.Context, t tlog.Tile) tlog.Tile {
	text, _ := s.read(ctx, checkpointPath, tlogproof.MaxSize)
	text, _, _ = bytes.Cut(text, []byte("\n\n"))
	c, err := tlogproof.ParseCheckpoint(string(text) + "\n")
	if n := c.Size >> (tileHeight * max(t.L, 0)); err == nil {
		t.W = int(max(min(n-t.N*tileWidth, tileWidth), 0))
	}
	return t
}

// readTile reads a tile or a bundle of entries. A log may have replaced a partial one by a
// wider one, which begins with it.
func readTile(ctx context.Context, s source, t tlog.Tile) ([]byte, error) {
	most := maxTile
	if t.L == entriesLevel {
		most = maxBundle
	}
	data, err := s.read(ctx, tilePath(t), most)
	for range 10 { // it may be replaced again meanwhile
		if !errors.Is(err, fs.ErrNotExist) || t.W == tileWidth {
			break
		}
		wider := tlog.Tile{H: tileHeight, L: t.L, N: t.N, W: tileWidth}
		if dir, ok := s.(dirSource); ok {
			wider = dir.replacement(ctx, t)
		}
		if wider.W <= t.W {
			break
		}
		data, err = s.read(ctx, tilePath(wider), most)
	}
	if err != nil {
		return nil, err
	}
	n := t.W * tlog.HashSize
	if t.L == entriesLevel {
		n = 0
		for range t.W {
			if len(data) < n+2 {
				return nil, fmt.Errorf("%s is too short", tilePath(t))
			}
			n += 2 + int(binary.BigEndian.Uint16(data[n:]))
		}
	}
	if len(data) < n {
		return nil, fmt.Errorf("%s is too short", tilePath(t))
	}
	return data[:n], nil
}

// readEntries reads the entries of a bundle, as far as a log of that size has them.
func readEntries(ctx context.Context, s source, bundle, size int64) (entries [][]byte, err error) {
	t := tlog.Tile{H: tileHeight, L: entriesLevel, N: bundle, W: int(min(size-bundle*tileWidth, tileWidth))}
	data, err := readTile(ctx, s, t)
	for len(data) > 0 {
		n := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:n:n])
		data = data[n:]
	}
	return entries, err
}

// A tree reads the hashes of a log up to a checkpoint, and verifies that they belong to it.
func tree(ctx context.Context, s source, c tlogproof.Checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Hash}, tileReader{ctx, s})
}

type tileReader struct {
	ctx context.Context
	s   source
}

func (r tileReader) Height() int { return tileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		b, err := readTile(r.ctx, r.s, t)
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
