package qrypttest_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"example.com/qrand/qrypttest"
)

// TestRecordIsBounded: the record keeps the last requests, with their numbers. The counters
// count all of them.
func TestRecordIsBounded(t *testing.T) {
	const kept, all = 10, 35
	e := qrypttest.New(qrypttest.Config{Record: kept, Rate: -1})
	e.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: 5})
	handler := e.Handler("api-eus")
	for range all {
		req := httptest.NewRequest(http.MethodGet, "/api/v1/quantum-entropy", nil)
		req.Header.Set("Authorization", "Bearer "+e.Token())
		handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	for since, want := range map[int64]int{0: kept, 5: kept, all - kept: kept, all - kept + 1: kept - 1, all - 1: 1, all: 0, all + 7: 0} {
		got := e.RequestsSince(since)
		if len(got) != want {
			t.Errorf("since %d: %d requests, want %d", since, len(got), want)
			continue
		}
		for i, r := range got {
			if number := int64(all - want + 1 + i); r.Number != number || r.Status != http.StatusOK {
				t.Errorf("since %d: request %d has number %d and status %d, want %d and 200", since, i, r.Number, r.Status, number)
			}
		}
	}
	if got := e.Requests(); len(got) != kept || got[0].Number != all-kept+1 {
		t.Errorf("Requests has %d", len(got))
	}
	if got, want := e.Answers(), map[int]int64{503: 5, 200: all - 5}; !maps.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

// TestAnswersCountsTheUnanswered: a request that was dropped is counted too.
func TestAnswersCountsTheUnanswered(t *testing.T) {
	s := newServer(t, qrypttest.Config{Record: 1})
	s.Script(qrypttest.Fault{Kind: qrypttest.ShortBody}, qrypttest.Fault{Kind: qrypttest.ExpiredCertificate}, qrypttest.Fault{})
	for range 3 {
		req, err := http.NewRequest(http.MethodGet, s.URL+"/api/v1/quantum-entropy", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Token())
		if res, err := s.Client().Do(req); err == nil {
			io.Copy(io.Discard, res.Body) // to its end: then it is counted
			res.Body.Close()
		}
	}
	if got, want := s.Answers(), map[int]int64{0: 2, 200: 1}; !maps.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}
