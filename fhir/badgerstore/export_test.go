package badgerstore

import "context"

// OpenSmall opens a store that takes few resources for many, so that small
// tests reach the plans made for large ones, and stores so many keys at a time.
func OpenSmall(c Config, part int) (*Store, error) {
	return open(c, tuning{
		owner: 10, little: 0, much: 3, countUpTo: 4, owners: 1, joinUpTo: 3, block: 2,
		keys: 20_000, part: part, logFile: 8 << 20, memTable: 1 << 20,
	})
}

// Tidy does at once what Badger does in the background: drop what no reader can
// see and free its space.
func (s *Store) Tidy() error {
	if err := s.db.Flatten(1); err != nil {
		return err
	}
	return s.free(context.Background())
}
