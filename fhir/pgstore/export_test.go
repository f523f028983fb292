package pgstore

import "context"

// OpenSmall opens a store that takes few resources for many, so that small tests
// reach the plans made for large ones.
func OpenSmall(ctx context.Context, o Options) (*Store, error) {
	return open(ctx, o, tuning{owner: 10, little: 0, much: 3, countFirst: 2, countUpTo: 4, owners: 1, joinUpTo: 3})
}
