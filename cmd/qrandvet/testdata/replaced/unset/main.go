// Command unset does not set rand.Reader. A function of another module that it does not call does.
package main

import (
	"lib.example"
	"m/ignored"
	_ "m/kept"
)

func main() { _ = lib.New; ignored.Calls() }
