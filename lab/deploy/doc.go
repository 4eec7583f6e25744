// Package deploy checks what is in deploy/ with the libraries that will read it. It is a
// module of its own because these have many dependencies. The script run starts it.
package deploy
