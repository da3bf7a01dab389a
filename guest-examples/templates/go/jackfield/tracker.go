package jackfield

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_http"
)

// plainBytesMax is the maximum number of bytes that an error quotes of a refusal in plain text.
const plainBytesMax = 300

// Tracker is a tracker with a JSON API, and the names that error messages contain. The paths of requests are
// relative to the tracker's address. The connector must percent-encode what people entered.
type Tracker struct {
	Name    string // the name of the tracker
	Address string // the name of the setting that contains the tracker's address
	Secret  string // the name of the setting that contains the credentials
	Reasons string // the path of the reasons in a refusal, such as "/errors"
}

// More contains the optional parts of a request.
type More struct {
	Query, Headers Pairs
	JSON           any                              // a JSON body,
	Body           *jackfield_connector_http.Body   // or any other body of the contract
	Effect         *jackfield_connector_http.Effect // needed if the effect does not follow from the method
}

// Get sends a GET request, and returns the part `wanted` of its answer.
func Get[T any](tracker Tracker, path, wanted string, query Pairs) (T, error) {
	answer, err := tracker.Request(jackfield_connector_http.MethodGet, path, More{Query: query})
	return Part[T](answer, wanted, err)
}

// Post sends a POST request, which is a write, and returns the part `wanted` of its answer.
func Post[T any](tracker Tracker, path, wanted string, body any) (T, error) {
	answer, err := tracker.Request(jackfield_connector_http.MethodPost, path, More{JSON: body})
	return Part[T](answer, wanted, err)
}

// Part returns the part of an answer at a path such as "/user/login". A missing part is an error, because the
// answer is not that of the expected tracker then. If `err` is an error, Part returns this error.
func Part[T any](answer json.RawMessage, path string, err error) (part T, _ error) {
	if err != nil {
		return part, err
	}
	found := at(answer, path)
	if found == nil {
		return part, Fail(Unavailable, "the tracker's answer has no %s; is the address right?", path)
	}
	if err := json.Unmarshal(found, &part); err != nil {
		return part, Fail(Unavailable, "%s of the tracker's answer is not as expected: %v", path, err)
	}
	return part, nil
}

func at(answer json.RawMessage, path string) json.RawMessage {
	for _, name := range strings.Split(path, "/")[1:] {
		var members map[string]json.RawMessage
		if json.Unmarshal(answer, &members) != nil {
			return nil
		}
		answer = members[name]
	}
	if string(answer) == "null" {
		return nil
	}
	return answer
}

// Request sends a request, and returns the JSON answer. An answer with another status than 2xx is an error. For
// an answer without a body, it returns an empty json.RawMessage.
func (it Tracker) Request(method jackfield_connector_http.Method, path string, more More) (json.RawMessage, error) {
	response, err := send(method, path, more)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(response.Text.SomeOr(""))
	answer := json.RawMessage(text)
	isJSON := json.Valid(answer)
	answered := fmt.Sprintf("%s answered %d to %s", it.Name, response.Status, path)
	if response.Status >= 200 && response.Status < 300 {
		if !isJSON && text != "" {
			why := "but not with JSON; is this the address of"
			return nil, Fail(Unavailable, "%s, %s %s?", answered, why, it.Name).About(it.Address)
		}
		return answer, nil
	}
	words := strings.ToValidUTF8(text[:min(len(text), plainBytesMax)], "")
	if isJSON {
		words = reasonsOf(at(answer, it.Reasons))
	} else if isPage(text) {
		words = ""
	}
	if words != "" {
		answered += ": " + words
	}
	return nil, it.refused(response, answered)
}

// reasonsOf joins the tracker's reasons for a refusal. They are a text, or the texts of a list or an object.
func reasonsOf(found json.RawMessage) string {
	var value any
	_ = json.Unmarshal(found, &value)
	return strings.Join(texts(value), "; ")
}

func texts(value any) (all []string) {
	switch value := value.(type) {
	case string:
		all = append(all, value)
	case []any:
		for _, it := range value {
			all = append(all, texts(it)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			all = append(all, texts(value[name])...)
		}
	}
	return all
}

func send(method jackfield_connector_http.Method, path string, more More) (response jackfield_connector_http.Response, _ error) {
	request := jackfield_connector_http.Request{
		Method: method, Url: path, Query: tuples(more.Query), Headers: tuples(more.Headers),
	}
	if more.Effect != nil {
		request.Effect = Some(*more.Effect)
	}
	if more.Body != nil {
		request.Body = Some(*more.Body)
	}
	if more.JSON != nil {
		var body strings.Builder
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(more.JSON); err != nil {
			return response, err
		}
		request.Body = Some(jackfield_connector_http.MakeBodyJson(strings.TrimSpace(body.String())))
	}
	sent := jackfield_connector_http.Send(request)
	if sent.IsOk() {
		return sent.Ok(), nil
	}
	switch why := sent.Err(); why.Tag() {
	case jackfield_connector_http.HttpErrorUnreachable:
		return response, Fail(Unavailable, "%s", why.Unreachable())
	case jackfield_connector_http.HttpErrorInterrupted:
		return response, Fail(Unavailable, "%s", why.Interrupted())
	case jackfield_connector_http.HttpErrorDenied:
		return response, Fail(Internal, "%s", why.Denied())
	case jackfield_connector_http.HttpErrorLimit:
		return response, Fail(Internal, "%s", why.Limit())
	default:
		return response, Fail(Internal, "%s", why.Invalid())
	}
}

func tuples(pairs Pairs) (tuples []wit_types.Tuple2[string, string]) {
	for _, pair := range pairs {
		if pair[1] != "" {
			tuples = append(tuples, wit_types.Tuple2[string, string]{F0: pair[0], F1: pair[1]})
		}
	}
	return tuples
}
