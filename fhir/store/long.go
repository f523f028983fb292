package store

import "sync"

// A Long remembers which stretches of an index were found to be long, so that not
// every search counts them before it chooses its way. It is of no matter to what a
// search gives; what it says is right or was, and is asked anew now and then. The
// zero value is ready; it is safe for concurrent use.
type Long struct {
	mu    sync.Mutex
	known map[string]length
}

// A length is how many entries a stretch has at least, and how often that is believed.
type length struct{ least, left int }

const (
	longKept     = 4096
	longBelieved = 1000 // times
	longName     = 1000 // bytes
)

// Is tells whether a stretch had so many entries, or more.
func (l *Long) Is(stretch string, entries int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok := l.known[stretch]
	switch {
	case !ok || n.least < entries:
		return false
	case n.left == 1:
		delete(l.known, stretch)
	default:
		n.left--
		l.known[stretch] = n
	}
	return true
}

// Found notes that a stretch has so many entries, or more; of one whose name is long
// itself, as that of many values, nothing is kept.
func (l *Long) Found(stretch string, entries int) {
	if len(stretch) > longName {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= longKept {
		l.known = map[string]length{}
	}
	l.known[stretch] = length{entries, longBelieved}
}
