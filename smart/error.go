package smart

// An Error is an OAuth error (RFC 6749 sections 4.1.2.1 and 5.2). Code and
// Description reach the caller; Cause only the log.
type Error struct {
	Code        string
	Description string
	Status      int // HTTP status; 0: 400
	Cause       error
}

func (e *Error) Error() string {
	s := e.Code + ": " + e.Description
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }
