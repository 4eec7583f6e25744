// Package deploycheck holds what is under deploy/ and the alerts of docs/fleet.md
// against the programs and libraries that will read them. It is a module of its own,
// for the sake of theirs; .ci/deploy/run runs it.
package deploycheck
