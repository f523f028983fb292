package badgerstore

// OpenSmall opens a store that takes few resources for many, so that small
// tests reach the plans made for large ones, and stores so many keys at a time.
func OpenSmall(c Config, part int) (*Store, error) {
	s, err := Open(c)
	if err == nil {
		s.tune = tuning{owner: 10, little: 0, much: 3, countUpTo: 4, owners: 1, joinUpTo: 3, block: 2, keys: 20_000, part: part}
	}
	return s, err
}
