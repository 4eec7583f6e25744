package main

import "sync"

// chores are what has to be done if the process must end in the middle of
// something, where no deferred call is run: take half-written files away, let the
// terminal show what is typed.
type chores struct {
	mu   sync.Mutex
	next int
	left map[int]func()
}

var atExit chores

// add adds a chore. When the returned function is called it is no longer needed.
func (c *chores) add(chore func()) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == nil {
		c.left = map[int]func(){}
	}
	id := c.next
	c.next++
	c.left[id] = chore
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.left, id)
	}
}

// do does them all. The lock is kept, so that nothing new is begun.
func (c *chores) do() {
	c.mu.Lock()
	for _, chore := range c.left {
		chore()
	}
}
