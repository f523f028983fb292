package badgerstore

// OpenSmall opens a store that takes few resources for many, so that small
// tests reach the plans made for large ones.
func OpenSmall(c Config) (*Store, error) {
	s, err := Open(c)
	if err == nil {
		s.tune = tuning{owner: 10, little: 0, much: 3, countUpTo: 4, owners: 1, joinUpTo: 3, block: 2, keys: 150_000, part: 5}
	}
	return s, err
}
