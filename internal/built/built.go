// Package built tells a test how it was built: Race is whether with the race
// detector, PureGo whether with the purego tag. It is for tests only: what the
// project does depends on neither.
package built
