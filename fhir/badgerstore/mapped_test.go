package badgerstore_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/store"
)

// Files are let go while others write, read and compact, and nothing is lost.
func TestMappedFilesAreLetGo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere mapped files are left alone: letting go takes madvise")
	}
	s := openSmallAt(t, t.TempDir(), 1000).(*badgerstore.Store)
	rnd := rand.New(rand.NewPCG(1, 1))
	var all []*store.Version
	var letting sync.WaitGroup
	again := make(chan struct{}, 1)
	letting.Go(func() {
		for range again {
			if _, _, err := s.LetGo(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 40 {
		select {
		case again <- struct{}{}:
		default:
		}
		err := s.Update(t.Context(), func(w store.Writer) error {
			for k := range 50 {
				v := observation(rnd, 50*i+k, k)
				v.Body = bytes.Repeat(v.Body, 8)
				if err := w.PutResource(v); err != nil {
					return err
				}
				all = append(all, v)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 30 {
			if err := s.Tidy(); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(again)
	letting.Wait()
	before, after, err := s.LetGo()
	if err != nil || after > before {
		t.Errorf("%d bytes became %d, %v", before, after, err)
	}
	for _, v := range all {
		err := s.View(t.Context(), func(r store.Reader) error {
			got, err := r.Resource(v.Key)
			if err == nil && (!bytes.Equal(got.Body, v.Body) || !bytes.Equal(got.Terms, v.Terms)) {
				t.Errorf("%s is not what was written", v.Key)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if before, after, err := s.LetGo(); err != nil || after > before*3/4 {
		t.Errorf("after reading all, %d bytes became %d, %v", before, after, err)
	}
}
