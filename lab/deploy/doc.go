// Package deploy checks what is in deploy/ and the alerts of docs/fleet.md with the
// libraries that will read them. It is a module of its own because these have many
// dependencies. The script run starts it.
package deploy
