package abuse

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// spaces is a body of so many of them.
type spaces struct {
	left int64
	sent *atomic.Int64
}

func (s *spaces) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), s.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	s.left -= n
	s.sent.Add(n)
	return int(n), nil
}

// SendBody sends a request with a body of size bytes, and returns how many of
// them the relay let it send, and the answer's status; zero if the relay closed
// the connection first. A chunked body does not say how long it is.
func (t Target) SendBody(ctx context.Context, token string, size int64, chunked bool) (sent int64, status int, err error) {
	var n atomic.Int64
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+t.Addr+"/api/v1/entropy", &spaces{size, &n})
	if err != nil {
		return 0, 0, err
	}
	if !chunked {
		req.ContentLength = size
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := t.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if ctx.Err() != nil {
		return n.Load(), 0, fmt.Errorf("abuse: after %d bytes: %w", n.Load(), ctx.Err())
	}
	if err != nil {
		return n.Load(), 0, nil
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return n.Load(), resp.StatusCode, nil
}
