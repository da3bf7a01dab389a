package jackfield

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_http"
	"wit_component/jackfield_connector_model"
)

// The error codes of the contract.
const (
	Rejected     = jackfield_connector_model.ErrorCodeRejected
	Unauthorized = jackfield_connector_model.ErrorCodeUnauthorized
	Unavailable  = jackfield_connector_model.ErrorCodeUnavailable
	RateLimited  = jackfield_connector_model.ErrorCodeRateLimited
	Unsupported  = jackfield_connector_model.ErrorCodeUnsupported
	Internal     = jackfield_connector_model.ErrorCodeInternal
)

// Failure is an error of the contract.
type Failure struct {
	contract jackfield_connector_model.Error
	// Status is the status with which the tracker refused a request. For other errors, it is 0.
	Status uint16
}

// Fail makes an error of the contract. The message says what to change.
func Fail(code jackfield_connector_model.ErrorCode, format string, values ...any) *Failure {
	message := fmt.Sprintf(format, values...)
	return &Failure{contract: jackfield_connector_model.Error{Code: code, Message: message}}
}

// About adds the name of the setting that a person must change.
func (it *Failure) About(setting string) *Failure {
	it.contract.Setting = Some(setting)
	return it
}

func (it *Failure) Error() string { return it.contract.Message }

// Contract returns the error as the host receives it.
func (it *Failure) Contract() jackfield_connector_model.Error { return it.contract }

// IsNotFound returns whether the tracker answered with the status 404.
func IsNotFound(err error) bool {
	var failure *Failure
	return errors.As(err, &failure) && failure.Status == 404
}

// Marked returns an error if the text of a found record does not contain the marker.
func (it Tracker) Marked(text, marker string) error {
	if strings.Contains(text, marker) {
		return nil
	}
	return Fail(Unsupported, "%s ignores the search for the marker", it.Name)
}

// Try converts a result of the contract to a value and an error.
func Try[T any](result wit_types.Result[T, jackfield_connector_model.Error]) (value T, err error) {
	if result.IsErr() {
		return value, &Failure{contract: result.Err()}
	}
	return result.Ok(), nil
}

// refused makes the error for an answer that refuses a request. For 401, 403 and 404, the error says
// what to check.
func (it Tracker) refused(response jackfield_connector_http.Response, answered string) *Failure {
	status, location := response.Status, header(response, "location")
	failure := Fail(Rejected, "%s", answered)
	switch {
	case status == 401:
		failure = Fail(Unauthorized, "%s. Are the credentials right?", answered).About(it.Secret)
	case status == 403:
		question := "Does the user of the credentials have the right to do this?"
		failure = Fail(Unauthorized, "%s. %s", answered, question)
	case status == 404:
		why := answered + ". It does not exist, or the user of the credentials cannot see it"
		if !isPage(response.Text.SomeOr("")) {
			failure = Fail(Rejected, "%s", why)
			break
		}
		failure = Fail(Rejected, "%s; is this the address of %s?", why, it.Name).About(it.Address)
	case status == 429:
		failure = Fail(RateLimited, "%s", answered)
		wait := secondsUntil(header(response, "retry-after"), header(response, "date"))
		failure.contract.RetryAfterSeconds = wait
	case status < 400 && location != "":
		failure = Fail(Rejected, "%s and redirects to %s", answered, location).About(it.Address)
	case status >= 500:
		failure = Fail(Unavailable, "%s", answered)
	}
	failure.Status = status
	return failure
}

func header(response jackfield_connector_http.Response, name string) string {
	for _, header := range response.Headers {
		if header.F0 == name {
			return header.F1
		}
	}
	return ""
}

// isPage returns whether a text looks like a page of HTML.
func isPage(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "<") }

// secondsUntil returns the wait that the header `Retry-After` requests. The header is a number of seconds or a
// time. A time is compared with the time of the answer, because the clocks of the tracker and of this machine
// may differ.
func secondsUntil(wait, answered string) wit_types.Option[uint32] {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(wait), 10, 32); err == nil {
		return Some(uint32(seconds))
	}
	until, err := time.Parse(time.RFC1123, wait)
	now, err2 := time.Parse(time.RFC1123, answered)
	if err != nil || err2 != nil {
		return None[uint32]()
	}
	return Some(uint32(max(0, until.Sub(now).Seconds())))
}
