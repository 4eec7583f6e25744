// Command indirect sets rand.Reader by way of another package.
package main

import (
	"os"

	_ "m/ignored"
	_ "m/kept"
	"m/random"
)

func main() { random.Use(os.Stdin) }
