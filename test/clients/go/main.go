// Checks of the server with OpenBao's Go client. Each check prints one JSON line when it has run: {"check", "error"}.
// The server's address, its root token, the one share of its key and a folder for files come as environment variables.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// What the server does in the background is done within this time.
const backgroundLimit = 20 * time.Second

var root *api.Client

func main() {
	root = client(os.Getenv("COFFER_TEST_ROOT_TOKEN"))
	kvChecks()
	loginChecks()
	tokenChecks()
	wrappingChecks()
	watcherChecks()
	sysChecks()
	sealChecks()
}

// check runs a check and prints how it went. Checks run one after the other and may build on those before.
func check(name string, run func()) {
	line := map[string]string{"check": name, "error": ""}
	func() {
		defer func() {
			if fault := recover(); fault != nil {
				line["error"] = fmt.Sprint(fault)
			}
		}()
		run()
	}()
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// client makes a client as a program would: nothing set but address and token.
func client(token string) *api.Client {
	config := api.DefaultConfig()
	config.Address = os.Getenv("COFFER_TEST_ADDRESS")
	made := must(api.NewClient(config))
	made.SetToken(token)
	return made
}

func must[T any](value T, err error) T {
	done(err)
	return value
}

func done(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Sprintf("got %#v instead of %#v", got, wanted))
	}
}

func holds(condition bool, text string) {
	if !condition {
		panic(text)
	}
}

// number is how the client gives numbers of answers.
func number(text string) json.Number {
	return json.Number(text)
}

// refused holds when the server answered with this status and a text that has this in it.
func refused(err error, status int, text string) {
	var answer *api.ResponseError
	holds(errors.As(err, &answer), fmt.Sprintf("it is no refusal by the server: %v", err))
	equal(answer.StatusCode, status)
	holds(strings.Contains(answer.Error(), text), answer.Error())
}

func eventually(text string, probe func() bool) {
	for deadline := time.Now().Add(backgroundLimit); !probe(); time.Sleep(50 * time.Millisecond) {
		holds(time.Now().Before(deadline), "still not so: "+text)
	}
}
