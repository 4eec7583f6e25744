package qrand_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"log"
	"sync"

	"example.com/qrand"
)

// publish is called once, because expvar takes each name once.
var publish = sync.OnceFunc(func() {
	expvar.Publish("qrand", expvar.Func(func() any { return src.Status() }))
})

var src *qrand.Source

// Without Prometheus, Status is served as JSON at /debug/vars by package expvar of the
// standard library. Package qrandprom has a collector for Prometheus.
func ExampleSource_Status() {
	defer onEmulator()()
	var err error
	if src, err = qrand.New(qrand.Config{Policy: qrand.RequireFresh, AllowEmulated: true}); err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	publish()

	if err := src.Reseed(context.Background()); err != nil {
		log.Fatal(err)
	}
	var status map[string]any
	if err := json.Unmarshal([]byte(expvar.Get("qrand").String()), &status); err != nil {
		log.Fatal(err)
	}
	fmt.Println(status["state"], status["mix"], status["policy"], status["max_age_seconds"], status["blocks"])
	// Output: Seeded MixXOR RequireFresh 600 1
}
