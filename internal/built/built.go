// Package built tells a test how it was built: Race says whether with the race detector,
// PureGo whether with the purego tag. It is for tests only.
package built
