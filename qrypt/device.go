package qrypt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Capabilities is what a device says it can do: GET /capabilities of the QRNG Open API.
type Capabilities struct {
	MinBlockSize, MaxBlockSize   int      // of a block, in bytes
	MinBlockCount, MaxBlockCount int      // blocks in a request
	EntropyTypes                 []string // the first is the default; nil: it does not say
}

// A TestResult is one of a device's own health tests: GET /healthtest of the QRNG Open API.
// All of it is what the device says, in words of its own.
type TestResult struct {
	Type       string // such as nist_90b
	Result     string // such as 0.94
	Time       string // when the test was made
	ReportLink string // empty: there is none
}

// maxDevice is far more than these answers need.
const maxDevice = 64 << 10

// Capabilities asks the first endpoint what it can do. It needs DialectOpenAPI, and is a
// request like any other for the token's rate.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	answer := struct {
		Entropy *struct {
			MinSize  *int     `json:"min_block_size"`
			MaxSize  int      `json:"max_block_size"`
			MinCount *int     `json:"min_block_count"`
			MaxCount int      `json:"max_block_count"`
			Types    []string `json:"entropy_types"`
		} `json:"entropy"`
	}{}
	if err := c.ask(ctx, "/api/v1/capabilities", &answer); err != nil {
		return Capabilities{}, err
	}
	e := answer.Entropy
	if e == nil || e.MaxSize < 1 || e.MaxCount < 1 {
		return Capabilities{}, malformed(c.endpoints[0], "it does not say how large blocks may be, and how many there may be")
	}
	caps := Capabilities{MinBlockSize: 1, MaxBlockSize: e.MaxSize, MinBlockCount: 1, MaxBlockCount: e.MaxCount, EntropyTypes: e.Types}
	if e.MinSize != nil {
		caps.MinBlockSize = *e.MinSize
	}
	if e.MinCount != nil {
		caps.MinBlockCount = *e.MinCount
	}
	return caps, nil
}

// HealthTest asks the first endpoint for its own health tests, which are optional in the
// QRNG Open API. It needs DialectOpenAPI, and is a request like any other for the token's
// rate. What it returns says nothing about any block: package qrand tests each by itself.
func (c *Client) HealthTest(ctx context.Context) ([]TestResult, error) {
	answer := struct {
		Results []struct {
			Type   string          `json:"test_type"`
			Result json.RawMessage `json:"test_result"` // a string or a number
			Time   string          `json:"time_stamp"`
			Link   string          `json:"report_link"`
		} `json:"test_result"`
	}{}
	if err := c.ask(ctx, "/api/v1/healthtest", &answer); err != nil {
		return nil, err
	}
	results := []TestResult{}
	for _, r := range answer.Results {
		text := string(r.Result)
		var quoted string
		if json.Unmarshal(r.Result, &quoted) == nil {
			text = quoted
		}
		results = append(results, TestResult{Type: r.Type, Result: text, Time: r.Time, ReportLink: r.Link})
	}
	return results, nil
}

// ask makes a request without entropy in its answer, and reads that into answer.
func (c *Client) ask(ctx context.Context, path string, answer any) error {
	if c == nil || len(c.endpoints) == 0 || ctx == nil {
		return errors.New("qrypt: a nil or zero Client, or a nil Context: a Client is made by New")
	}
	if c.dialect != DialectOpenAPI {
		return fmt.Errorf("qrypt: the dialect %v has no such call: use %v", c.dialect, DialectOpenAPI)
	}
	return c.request(ctx, func(ctx context.Context, endpoint, token string) error {
		body := make([]byte, maxDevice+1)
		size, _, err := c.exchange(ctx, endpoint, token, body, func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, endpoint+path, nil)
		})
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body[:size], answer); err != nil {
			return malformed(endpoint, "it is not the JSON object of this call")
		}
		return nil
	})
}
