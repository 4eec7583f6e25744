package qrand_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"log"
	"time"

	"example.com/qrand"
)

// Without Prometheus, Status is served as JSON at /debug/vars by package expvar of the
// standard library. Package qrandprom has a collector for Prometheus.
func ExampleSource_Status() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	src, err := qrand.New(qrand.Config{Policy: qrand.RequireFresh, AllowEmulated: true})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	expvar.Publish("qrand", expvar.Func(func() any { return src.Status() }))

	if err := src.WaitSeeded(ctx); err != nil {
		log.Fatal(err)
	}
	var status map[string]any
	if err := json.Unmarshal([]byte(expvar.Get("qrand").String()), &status); err != nil {
		log.Fatal(err)
	}
	fmt.Println(status["state"], status["mix"], status["policy"], status["max_age_seconds"], status["blocks"])
	// Output: Seeded MixXOR RequireFresh 600 1
}
