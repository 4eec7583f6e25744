// Package deploy holds what is under deploy/ and the alerts of docs/fleet.md
// against the programs and libraries that will read them. It is a module of its own,
// because theirs are many. The script run starts it.
package deploy
