package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

// secretOf is the text of a token as the catalog would make it, for an id and a
// number in place of random bits.
func secretOf(id string, number int) string {
	random := sha256.Sum256(fmt.Append(nil, number))
	text := strings.Join([]string{"samsa", base64.RawURLEncoding.EncodeToString([]byte(id)), base64.RawURLEncoding.EncodeToString(random[:])}, ".")
	return fmt.Sprintf("%s.%08x", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

func keyOf(t *testing.T, secret string) catalog.AccessTokenKey {
	key, ok := catalog.ParseAccessToken(secret)
	require.True(t, ok)
	return key
}

const outage = 5 * time.Minute

// world is a verifier with a database, in a bubble of fake time.
type world struct {
	*Verifier
	t        *testing.T
	database *database
	secret   string // of the token "a"
}

func inWorld(t *testing.T, f func(*world), change ...func(*VerifierConfig)) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{tokens: map[catalog.AccessTokenKey]catalog.AccessToken{}}
		c := VerifierConfig{Tokens: d, OutageTTL: outage, Metrics: NewMetrics(nil)}
		for _, f := range change {
			f(&c)
		}
		w := &world{Verifier: NewVerifier(c), t: t, database: d, secret: secretOf("a", 1)}
		defer w.Close()
		w.issue(w.secret, time.Time{})
		f(w)
	})
}

func (w *world) issue(secret string, expiry time.Time) {
	key := keyOf(w.t, secret)
	w.database.set(func() { w.database.tokens[key] = catalog.AccessToken{ID: key.ID, ExpiresAt: expiry} })
}

func (w *world) revoke(secret string) {
	w.database.set(func() { delete(w.database.tokens, keyOf(w.t, secret)) })
}

func (w *world) announce(id string) {
	w.Change(w.t.Context(), &clusterv1.CatalogChange{AccessTokenId: id})
}

func (w *world) down(down bool) { w.database.set(func() { w.database.down = down }) }

func (w *world) ok(secret string) {
	w.t.Helper()
	_, err := w.Verify(w.t.Context(), secret)
	require.NoError(w.t, err)
}

func (w *world) refused(secret string, want error) {
	w.t.Helper()
	_, err := w.Verify(w.t.Context(), secret)
	require.ErrorIs(w.t, err, want)
}

func TestVerify_AsksOnceInThirtySeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { w.ok(w.secret) })
		}
		all.Wait()
		time.Sleep(revalidateAfter - time.Millisecond)
		w.ok(w.secret)
		require.Equal(t, 1, w.database.count())
		time.Sleep(time.Millisecond)
		w.ok(w.secret)
		require.Equal(t, 2, w.database.count())
	})
}

func TestVerify_RefusesMalformedTokensWithoutAsking(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, text := range []string{"", "x", w.secret[1:], w.secret + "0", strings.Repeat("x", 1<<20)} {
			w.refused(text, ErrMalformed)
		}
		require.Zero(t, w.database.count())
	})
}

func TestVerify_RevocationUnannouncedTakesThirtySeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.revoke(w.secret)
		time.Sleep(revalidateAfter)
		w.refused(w.secret, ErrInvalid)
	})
}

func TestVerify_RevocationAnnouncedTakesEffectAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.revoke(w.secret)
		w.announce("b")
		w.ok(w.secret)
		w.announce("a")
		w.refused(w.secret, ErrInvalid)
		w.issue(w.secret, time.Time{}) // as if it had been refused by mistake
		w.announce("a")
		w.ok(w.secret)
	})
}

// The look began before the change was made, and ends after its announcement.
func TestVerify_LookThatAChangeOvertakesIsDoneAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.database.set(func() { w.database.slow = 100 * time.Millisecond })
		var first sync.WaitGroup
		first.Go(func() { w.refused(w.secret, ErrInvalid) })
		time.Sleep(50 * time.Millisecond)
		w.revoke(w.secret)
		w.announce("a")
		first.Wait()
		w.refused(w.secret, ErrInvalid)
	})
}

func TestVerify_MissedAnnouncementsHaveEveryTokenLookedAtAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.revoke(w.secret)
		w.Missed()
		w.refused(w.secret, ErrInvalid)
	})
}

func TestVerify_ExpiryIsExact(t *testing.T) {
	inWorld(t, func(w *world) {
		w.issue(w.secret, time.Now().Add(10*time.Second))
		w.ok(w.secret)
		time.Sleep(10*time.Second - time.Nanosecond)
		w.ok(w.secret)
		time.Sleep(time.Nanosecond)
		w.refused(w.secret, ErrExpired)
		require.Equal(t, 1, w.database.count())
		other := secretOf("b", 2) // expired before it is seen
		w.issue(other, time.Now())
		w.refused(other, ErrExpired)
	})
}

func TestVerify_KnownTokensOutliveAnOutageForItsTTL(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.down(true)
		time.Sleep(outage - time.Nanosecond)
		w.ok(w.secret)
		time.Sleep(time.Nanosecond)
		w.refused(w.secret, ErrUnavailable)
		w.refused(secretOf("b", 2), ErrUnavailable)
		w.down(false)
		time.Sleep(retryAfter)
		w.ok(w.secret)
		w.refused(secretOf("b", 2), ErrInvalid)
	})
}

func TestVerify_OutageWithoutTTLEndsAllButTheRevalidationTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.down(true)
		time.Sleep(revalidateAfter - time.Nanosecond)
		w.ok(w.secret)
		time.Sleep(time.Nanosecond)
		w.refused(w.secret, ErrUnavailable)
	}, func(c *VerifierConfig) { c.OutageTTL = 0 })
}

func TestVerify_AnnouncedChangeIsNotOverriddenByAnOutage(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.down(true)
		w.announce("a")
		w.refused(w.secret, ErrUnavailable)
	})
}

func TestVerify_SilentDatabaseHoldsUpOneCallOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.database.set(func() { w.database.slow = time.Hour })
		time.Sleep(revalidateAfter)
		begun := time.Now()
		w.ok(w.secret)
		require.Equal(t, patience, time.Since(begun))
		begun = time.Now()
		for range 100 {
			w.ok(w.secret)
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 100*time.Millisecond, time.Since(begun))
	})
}

func TestVerify_RefusedTokensAreRememberedBriefly(t *testing.T) {
	inWorld(t, func(w *world) {
		unknown := secretOf("b", 2)
		for range 100 {
			w.refused(unknown, ErrInvalid)
		}
		require.Equal(t, 1, w.database.count())
		time.Sleep(refuseFor)
		w.refused(unknown, ErrInvalid)
		require.Equal(t, 2, w.database.count())
	})
}

func TestVerify_FloodOfMadeUpTokensIsBoundedAndDisplacesNoValidOne(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ok(w.secret)
		w.database.set(func() { w.database.slow = 10 * time.Millisecond })
		var flood sync.WaitGroup
		for i := range 1000 {
			flood.Go(func() {
				_, err := w.Verify(w.t.Context(), secretOf("a", 100+i))
				require.Error(t, err)
			})
		}
		flood.Wait()
		require.LessOrEqual(t, w.held(w.unknown), 50)
		looks := w.database.count()
		w.ok(w.secret)
		require.Equal(t, looks, w.database.count())
		time.Sleep(2 * refuseFor)
		synctest.Wait()
		require.Zero(t, w.held(w.unknown))
	}, func(c *VerifierConfig) { c.MaxUnknown, c.MaxLookups = 50, 2 })
}

// held is how many tokens are remembered in one of the verifier's maps.
func (w *world) held(tokens map[[sha256.Size]byte]*entry) int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(tokens)
}

func TestVerify_ForgetsWhatNobodyUses(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 20 {
			secret := secretOf("a", i)
			w.issue(secret, time.Time{})
			w.ok(secret)
		}
		synctest.Wait()
		require.Equal(t, 10, w.held(w.known))
		time.Sleep(idleFor + 2*sweepEvery)
		synctest.Wait()
		require.Zero(t, w.held(w.known))
	}, func(c *VerifierConfig) { c.MaxKnown = 10 })
}

func TestVerify_RootTokenNeedsNoDatabase(t *testing.T) {
	root := sha256.Sum256([]byte("the root token"))
	inWorld(t, func(w *world) {
		w.down(true)
		token, err := w.Verify(w.t.Context(), "the root token")
		require.NoError(t, err)
		require.True(t, token.Root)
		w.refused("the root toke", ErrMalformed)
	}, func(c *VerifierConfig) { c.Root = &root })
}

func (w *world) session() (context.Context, func()) {
	token, err := w.Verify(w.t.Context(), w.secret)
	require.NoError(w.t, err)
	return token.Session(w.t.Context())
}

func TestSession_EndsWithItsToken(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*world)
		within time.Duration
		want   error
	}{
		"announced revocation":   {func(w *world) { w.revoke(w.secret); w.announce("a") }, 0, ErrInvalid},
		"unannounced revocation": {func(w *world) { w.revoke(w.secret) }, revalidateAfter + sweepEvery, ErrInvalid},
		"announcements missed":   {func(w *world) { w.revoke(w.secret); w.Missed() }, 0, ErrInvalid},
		"end of an outage's TTL": {func(w *world) { w.down(true) }, outage + sweepEvery, ErrUnavailable},
		"announced in an outage": {func(w *world) { w.down(true); w.announce("a") }, sweepEvery, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ctx, stop := w.session()
				defer stop()
				time.Sleep(10 * time.Minute) // it is looked after meanwhile
				require.NoError(t, ctx.Err())
				c.end(w)
				begun := time.Now()
				synctest.Wait()
				<-ctx.Done()
				require.LessOrEqual(t, time.Since(begun), c.within)
				require.ErrorIs(t, context.Cause(ctx), c.want)
			})
		})
	}
}

// Between the check of a token and its session the token may be displaced by others.
func TestSession_DoesNotOutliveARevocationThatItsTokenIsNotToldOf(t *testing.T) {
	inWorld(t, func(w *world) {
		displaced, err := w.Verify(w.t.Context(), w.secret)
		require.NoError(t, err)
		kept := secretOf("b", 2)
		w.issue(kept, time.Time{})
		w.ok(kept)
		synctest.Wait()
		ctx, stop := displaced.Session(w.t.Context())
		defer stop()
		require.ErrorIs(t, context.Cause(ctx), ErrUnavailable, "the next attempt looks it up")

		w.secret = kept
		ctx, stopKept := w.session()
		defer stopKept()
		w.issue(secretOf("c", 3), time.Time{})
		w.ok(secretOf("c", 3))
		w.revoke(kept)
		w.announce("b")
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrInvalid, "what a session depends on is not displaced")
	}, func(c *VerifierConfig) { c.MaxKnown = 1 })
}

func TestSession_EndsAtTheTokensExpiry(t *testing.T) {
	inWorld(t, func(w *world) {
		w.issue(w.secret, time.Now().Add(time.Minute))
		begun := time.Now()
		ctx, stop := w.session()
		defer stop()
		<-ctx.Done()
		require.Equal(t, time.Minute, time.Since(begun))
		require.ErrorIs(t, context.Cause(ctx), ErrExpired)
	})
}

func TestSession_SurvivesWhatDoesNotConcernIt(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, stop := w.session()
		w.announce("a") // issued anew under the same id, say
		w.announce("b")
		w.Missed()
		synctest.Wait()
		w.down(true)
		time.Sleep(outage / 2)
		w.down(false)
		time.Sleep(outage)
		require.NoError(t, ctx.Err())
		stop()
		require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	})
}
