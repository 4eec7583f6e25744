// Command always imports a package of another module that sets rand.Reader whenever it is imported.
package main

import (
	_ "lib.example/always"
	_ "m/ignored"
	_ "m/kept"
)

func main() {}
