package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRun: the relay serves the client whose token is printed, and at the end the account
// is printed. Without the overlay the program says what it is built with.
func TestRun(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	printed, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, stdout, true, "")
		stdout.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(printed)
	if !lines.Scan() {
		err := <-ended
		if !strings.Contains(fmt.Sprint(err), "-overlay overlay.json") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	url, token, _ := strings.Cut(lines.Text(), " ")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/quantum-entropy?size=512", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", resp.StatusCode)
	}
	end()
	if want := fmt.Sprintf("HandedOut:%d ", 512<<10); !lines.Scan() || !strings.Contains(lines.Text(), want) {
		t.Errorf("at the end %q is printed, want %q in it", lines.Text(), want)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
