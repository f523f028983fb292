package store

import "sync"

// A Long remembers which stretches of an index were found to be long, so that not
// every search counts them before it chooses its way. It is of no matter to what a
// search gives; what it says is right or was, and is asked anew now and then. The
// zero value is ready; it is safe for concurrent use.
type Long struct {
	mu   sync.Mutex
	left map[string]int // how often it is believed
}

const (
	longKept     = 4096
	longBelieved = 1000 // times
	longName     = 1000 // bytes
)

// Is tells whether a stretch was long.
func (l *Long) Is(stretch string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.left[stretch]
	switch n {
	case 0:
		return false
	case 1:
		delete(l.left, stretch)
	default:
		l.left[stretch] = n - 1
	}
	return true
}

// Found notes that a stretch is long; of one whose name is long itself, as that of
// many values, nothing is kept.
func (l *Long) Found(stretch string) {
	if len(stretch) > longName {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == nil || len(l.left) >= longKept {
		l.left = map[string]int{}
	}
	l.left[stretch] = longBelieved
}
