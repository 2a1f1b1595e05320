/** A service with sessions, under `tsc --strict`, without a cast. */
import express from 'express';
import session from 'express-session';
import { memorySessions, RedisConnectionManager } from 'redis-backplane';
import { BackplaneStore } from 'redis-backplane/express-session';

declare module 'express-session' {
  interface SessionData {
    views: number;
  }
}

const manager = new RedisConnectionManager('redis://localhost');
const store = new BackplaneStore(manager, {
  onConflict: 'merge',
  importFrom: 'sess:',
  whenAway: { fallback: memorySessions(), onReturn: 'newest' },
});
store.sessions.on('degraded', (error) => error.redisErrorKind);
const asStore: session.Store = store;

export const app = express();
app.use(session({ store: asStore, secret: 'of the session', resave: false, saveUninitialized: false }));
app.get('/', (request, response) => {
  request.session.views = (request.session.views ?? 0) + 1;
  response.json(request.session.views);
});
store.length((_, length) => length?.toFixed());
