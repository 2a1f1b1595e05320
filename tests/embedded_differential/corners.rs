//! Cases that random sequences rarely reach: rarely used options, and refusals. Each sequence is a list of commands, one in each line, with
//! words as redis-cli takes them.

/// The words of a line. In double quotes `\n`, `\r`, `\t`, `\a`, `\b` and `\xff` stand for bytes; in single quotes nothing does.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim().bytes().peekable();
    while rest.peek().is_some() {
        let mut word = Vec::new();
        match rest.next() {
            Some(b' ') => continue,
            Some(b'\'') => word.extend(rest.by_ref().take_while(|&byte| byte != b'\'')),
            Some(b'"') => {
                while let Some(byte) = rest.next().filter(|&byte| byte != b'"') {
                    word.push(if byte == b'\\' { escaped(&mut rest) } else { byte });
                }
            }
            Some(first) => {
                word.push(first);
                while let Some(byte) = rest.next_if(|&byte| byte != b' ') {
                    word.push(byte);
                }
            }
            None => {}
        }
        words.push(word);
    }
    words
}

fn escaped(rest: &mut impl Iterator<Item = u8>) -> u8 {
    match rest.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'x') => {
            let digits: String = rest.take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).unwrap()
        }
        other => other.unwrap(),
    }
}

/// Sequences, divided by empty lines.
pub(crate) fn sequences() -> Vec<Vec<&'static str>> {
    let lines = || [CONNECTION, KEYS, NUMBERS, COLLECTIONS, STREAMS, SCRIPTS].into_iter().flat_map(str::lines);
    let mut sequences = vec![Vec::new()];
    for line in lines() {
        match sequences.last_mut() {
            Some(last) if !line.is_empty() => last.push(line),
            _ => sequences.push(Vec::new()),
        }
    }
    sequences.retain(|lines| !lines.is_empty());
    sequences
}

const CONNECTION: &str = r#"
hello 3 setname bob
client getname
hello 2 setname 'a b'
hello 2 setname
hello 2 auth default
hello 2 auth nobody wrong
hello 4
hello x
ping a b
client setname "a\nb"
client setname ''
client getname

client list type master
client list type pubsub
client list type nosuch
client list id 0
client list id x
client list id 999999
client list id
client list foo

client kill 1.2.3.4:5
client kill id 999999 skipme no
client kill id
client kill id x
client kill addr 1.1.1.1:1
client kill laddr 1.1.1.1:1
client kill user default skipme yes type pubsub
client kill user nobody
client kill id 999999 skipme maybe
client kill foo bar
client kill type nosuch
client kill type pubsub skipme yes

client pause 0 foo
client pause 0 all bar
client pause -1
client pause x
client pause 100000 write
client unpause
client unpause

client unblock 999999 foo
client unblock 999999 error
client unblock 999999
client unblock x
client reply foo
client no-evict maybe
client no-evict on
client nosuch

subscribe a
ping
unsubscribe a
reset
multi
multi
watch k
discard
discard
exec
multi
nosuch
exec
unwatch

wait 0 -1
wait 0 x
latency graph none
memory usage k samples -1
memory usage k samples x
memory usage k foo
set k 1
memory usage k samples 0
command getkeys ping
command getkeys nosuch
command getkeys get
command getkeys set k v
command getkeys eval x 1 k
command getkeys eval x 9 k
command getkeys xread streams a b 0 0
command getkeys zunionstore a 2 b c
command getkeys sort a store b
command info nosuch
command nosuch

config set maxmemory 100k
config get maxmemory
config set maxmemory 3m
config set maxmemory 1mb
config get maxmemory
config set maxmemory 1g
config set maxmemory 1gb
config get maxmemory
config set maxmemory 5kb
config set maxmemory 1x
config set maxmemory x
config set maxmemory 0 maxmemory 0
config set maxmemory
config set maxmemory 0 foo
config set nosuch 1
config set maxmemory 0
config resetstat
config rewrite

script flush foo
script flush sync
script flush async
script kill
script exists
script nosuch
evalsha_ro 0000000000000000000000000000000000000000 0
eval_ro "return redis.call('get', KEYS[1])" 1 k
eval_ro "return redis.call('set', KEYS[1], 1)" 1 k
evalsha 00 0
eval 'return 1' -1
eval 'return 1' 2 k
eval 'return 1' x
"#;

const KEYS: &str = r#"
set k 1
expire k 100 nx xx
expire k 100 gt lt
expire k 100 nx gt
expire k 100 foo
expire k 100 xx
expire k 100 gt
expire k 100 lt
expire k 200 gt
expire k 50 gt
expire k 50 lt
expire k x
expire k 9223372036854775807
pexpire k -9223372036854775808
persist k
persist k

set k 1
copy k k
copy k other db x
copy k other db 99999
copy k other foo
copy k other
copy k other
copy k other replace
rename nosuch x
renamenx nosuch x
rename k k
renamenx k k
renamenx k other
move k 0
move k x
move nosuch 3
move k 3
select 3
set other 1
get k
select 0
set k 2
move k 3
object encoding nosuch
object freq nosuch
object nosuch k

scan 0 count 0
scan 0 count x
scan 0 foo
scan 0 foo bar
scan x
scan 0 type nosuch
scan 0 match [ab
sadd s a \ [a] b-d
sscan s 0 match [\]]
sscan s 0 match \[a\]
sscan s 0 match [^a]
sscan s 0 match [b-d]*
sscan s 0 match [d-b]*
sscan s 0 match [a
sscan s 0 match \
sscan s 0 count 0
hscan s 0
zscan nosuch 0 match *

set k v
set k v nx xx
set k v ex 10 px 10
set k v keepttl ex 10
set k v ex 0
set k v px -1
set k v exat 9223372036854775807
set k v get nx
set k v foo
set k v ex
getex k ex 0
getex k foo
getex k ex 10 persist
getex k persist
getex nosuch ex 10
setex k 0 v
psetex k x v
setex k 9223372036854775807 v
setrange k -1 x
setrange k 536870912 x
setrange nosuch 5 ''
setrange k 3 abc
append k x
getrange k 5 2
getrange k -1 -3
getrange k -100 100
substr k 0 1
mset a
msetnx a 1 a 2
msetnx a 1 b 2
lcs a b len idx
lcs a b foo
lcs a b minmatchlen x
lcs a b idx minmatchlen -1 withmatchlen
lpush l a
lcs a l
getdel l
getset l x
strlen l

restore k 0 nonsense
restore k -1 nonsense
restore k 0 nonsense foo
restore k 0 nonsense idletime -1
restore k 0 nonsense freq 256
restore k 0 nonsense idletime 1 freq 1
set k 1
restore k 0 nonsense
restore gone 1 "\x00\x011\x0b\x00\xb2\xbb\xfc\xbc\x9e\x6e\x53\xa0" absttl

sort l by
sort l limit 0 x
sort l foo
rpush l 3 1 2
sort l limit 1 -1 desc
sort l limit -5 2
sort l by nosort get # get w_*
hmset w_1 f 10
sort l by w_*->f get w_*->f get w_*->
sort l by w_* get w_*
set w_2 x
sort l by w_*
rpush l x
sort l
sort l alpha store dest
sort_ro l store dest
sort_ro l alpha
sort nosuch store dest
exists dest
set k 1
sort k
"#;

const NUMBERS: &str = r#"
set k 9223372036854775807
incr k
incrby k 1
decrby k -9223372036854775808
decr k
set k ' 1'
incr k
set k 1.5
incr k
incrbyfloat k nan
incrbyfloat k inf
incrbyfloat k 1e300
incrbyfloat k -1e300
incrbyfloat k 0x10
incrbyfloat k 3.0e3
incrbyfloat k 0.000000000000000001
set k 0.1
incrbyfloat k 0.2
set k 1e17
incrbyfloat k 0.1
set k 12345678901234567890123
incrbyfloat k 1
hset h f x
hincrbyfloat h f 1
hincrby h f 1
hset h f 9223372036854775807
hincrby h f 1
hincrby h f x
hincrbyfloat h g nan

zadd z inf a
zincrby z -inf a
zadd z nan b
zadd z x b
zadd z incr -inf a
zadd z nx xx 1 a
zadd z nx gt 1 a
zadd z gt lt 1 a
zadd z incr 1 a 2 b
zadd z ch 1
zadd z 1 a x b
zadd z 0x1p3 h
zadd z 1e-320 d
zadd z -0 n
zadd z 3 a 17.1 b 1e21 c
zscore z h
zscore z d
zscore z n
zscore z c
zadd z gt ch 1 a 20 b
zadd z lt ch 1 a 30 b
zadd z xx incr 1 nosuch

bitcount k 0
bitcount k 0 1 foo
bitcount k x 1
bitcount k 5 1
set k "\xff\x0f"
bitcount k 0 -1 bit
bitcount k 3 10 bit
bitcount k -1 -2
bitcount k 9 12 bit
bitpos k 2
bitpos k x
bitpos k 0 0 1 foo
bitpos k 0 5 1
bitpos k 1 9 11 bit
bitpos k 0 8 -1 bit
bitpos k 0
bitpos k 0 1
bitpos nosuch 0
bitpos nosuch 1
set full "\xff\xff"
bitpos full 0
bitpos full 0 0 -1
bitop not a k full
bitop foo a k
bitop xor a k full nosuch
bitop and a nosuch
get a
setbit k -1 1
setbit k 4294967296 1
setbit k 1 2
getbit k x

bitfield k overflow foo
bitfield k overflow fail
bitfield k get u64 0
bitfield k get i65 0
bitfield k get x8 0
bitfield k get u8 -1
bitfield k get u8 #x
bitfield k set u8 0 x
bitfield k foo
bitfield k get u8
bitfield k overflow sat incrby i8 0 127 incrby i8 0 127 incrby i8 0 -128 incrby i8 0 -128 incrby i8 0 -128
bitfield k overflow sat incrby u8 8 200 incrby u8 8 200 incrby u8 8 -255 incrby u8 8 -255
bitfield k overflow fail incrby u8 8 300 set u8 8 256 incrby u8 100 300
bitfield k overflow wrap incrby u8 8 300 incrby i8 8 -300 set i8 #2 200
bitfield k overflow sat set i64 0 9223372036854775807 incrby i64 0 1 incrby i64 0 -1
bitfield k overflow sat set i64 0 -9223372036854775808 incrby i64 0 -1
bitfield_ro k set u8 0 1
bitfield_ro k get u4 0 get i63 1
get k

pfadd h a b c
pfadd h a
pfcount h nosuch
pfmerge m h nosuch
pfcount m
set k nonsense
pfadd k a
pfcount k
pfmerge m k
lpush l a
pfadd l a
pfcount l
pfadd empty
pfcount empty
"#;

const COLLECTIONS: &str = r"
lpush l a b c d
lpop l x
lpop l -1
lpop l 0
lpop nosuch 0
rpop l 2
lpos l a rank 0
lpos l a count -1
lpos l a maxlen -1
lpos l a foo
lpos l a rank
lpos l b rank -1 count 0 maxlen 1
lpos nosuch a count 1
linsert l foo a x
linsert l before nosuch x
linsert nosuch before a x
lset nosuch 0 x
lset l 99 x
lset l x x
lrem l x a
lrem l -1 a
ltrim l 5 1
exists l
lindex nosuch 0
lindex l x
lmove l l foo left
lmove nosuch l left left
lmpop 0 l left
lmpop 2 l left
lmpop 1 l foo
lmpop 1 l left count 0
lmpop 1 l left foo
lmpop 1 l left count 1 count 1
lmpop x l left
lmpop 2 nosuch l left count 5
blpop l x
blpop l -1
blmpop -1 1 l left
rpoplpush nosuch l
set k v
rpoplpush l k
lmove k l left left

sadd s a b c
smove s t a
smove s t a
smove s s b
smove nosuch t b
smove s k b
set k v
smove s k b
smembers s
smembers t
spop s -1
spop s x
spop s 0
spop nosuch 1
spop s 1 foo
srandmember s -9223372036854775808
srandmember s x
srandmember nosuch 3
srandmember nosuch -3
srandmember s 1 foo
sintercard 0 s
sintercard 2 s
sintercard 1 s foo
sintercard 1 s limit -1
sintercard 1 s limit 1
sintercard x s
sinterstore d s k
sinterstore d s nosuch
sdiffstore d nosuch s
sunionstore d s t
exists d
smismember k a
smismember nosuch a b

hset h f
hset h f v g
hmset h f
hset h f 1 g 2
hrandfield h x
hrandfield h 1 foo
hrandfield h 1 withvalues foo
hrandfield h -9223372036854775808 withvalues
hrandfield h 9223372036854775807 withvalues
hrandfield h 0
hrandfield nosuch 2
hrandfield nosuch -2 withvalues
hrandfield nosuch
hgetall nosuch
hsetnx h f 2
hstrlen h nosuch
hdel h f g
exists h
set k v
hget k f
hset k f v

zadd z 1 a 2 b 3 c
zrange z 0 -1 limit 0 1
zrange z 0 -1 bylex withscores
zrange z [a (c bylex limit 0 x
zrange z (1 +inf byscore limit 1 1 withscores
zrange z +inf (1 byscore rev limit 0 -1
zrange z x 1
zrange z 0 1 foo
zrange z a b bylex
zrange z x 1 byscore
zrange z (x 1 byscore
zrangestore d z 0 -1 withscores
zrangestore d z 0 -1 byscore
zrangestore d z 5 9
exists d
zrangebyscore z -inf +inf limit 0
zrangebyscore z -inf +inf limit 1 5 withscores foo
zrevrangebylex z + - limit 0 2
zrangebylex z - x
zlexcount z - x
zcount z x 1
zremrangebyscore z x 1
zremrangebylex z x +
zremrangebyrank z x 1
zrank z nosuch
zrank nosuch a
zpopmin z -1
zpopmin z x
zpopmax z 0
zpopmin nosuch 2
zmpop 0 z min
zmpop 1 z foo
zmpop 1 z min count 0
zmpop 1 z min foo
zmpop 2 nosuch z max count 2
zmscore nosuch a b
zrandmember z x
zrandmember z 1 foo
zrandmember z 9223372036854775807 withscores
zrandmember z -9223372036854775808 withscores
zrandmember nosuch -3
bzpopmin z -1
bzpopmax z x
bzmpop 0 1 z foo

zadd a 1 x 2 y
zadd b 3 x 4 z
sadd s x q
zunion 2 a b withscores
zunion 2 a b weights 2 3 aggregate min withscores
zunion 2 b a aggregate min withscores
zunion 2 a b aggregate max withscores
zunion 2 b a aggregate max withscores
zunion 2 a s weights 1 nan
zunion 2 a b weights 1
zunion 2 a b weights 1 x
zunion 2 a b aggregate foo
zunion 2 a b foo
zunion 0 a
zunion 3 a b
zunion x a
zinter 2 a s aggregate min withscores
zinter 2 a nosuch
zdiff 2 a b withscores
zdiff 2 a b weights 1 2
zdiffstore d 2 a b
zinterstore d 2 a nosuch
exists d
zintercard 2 a b limit -1
zintercard 2 a b limit 1
zintercard 2 a b foo
zunionstore d 2 a b weights inf -inf
zadd i inf x
zadd j -inf x
zunion 2 i j withscores
zunion 1 i weights 0 withscores
set k v
zunion 2 a k
zunionstore d 1 a withscores

geoadd g 13.361389 38.115556 palermo 15.087269 37.502669 catania
geoadd g nx xx 1 1 a
geoadd g 181 0 a
geoadd g 0 86 a
geoadd g x 1 a
geoadd g 1 1
geoadd g ch nx 1 1 palermo
geoadd g xx 1 1 nosuch
geodist g palermo catania
geodist g palermo catania km
geodist g palermo catania mi
geodist g palermo catania ft
geodist g palermo catania foo
geodist g palermo nosuch
geodist nosuch a b
geodist g palermo palermo m
geopos g palermo nosuch
geopos nosuch a
geohash g palermo nosuch
geohash nosuch a
geosearch g frommember palermo byradius 200 km asc
geosearch g frommember palermo byradius 200 km desc count 1 withdist
geosearch g frommember palermo byradius 200 km asc count 1 any withhash
geosearch g fromlonlat 15 37 bybox 400 400 km asc withcoord withdist withhash
geosearch g fromlonlat 15 37 byradius 200 km bybox 1 1 km
geosearch g fromlonlat 15 37 frommember palermo byradius 200 km
geosearch g fromlonlat 15 37
geosearch g byradius 200 km
geosearch g frommember nosuch byradius 200 km
geosearch g fromlonlat 15 37 byradius -1 km
geosearch g fromlonlat 15 37 byradius x km
geosearch g fromlonlat 15 37 byradius 1 foo
geosearch g fromlonlat 15 37 bybox 1 -1 km
geosearch g fromlonlat 15 37 byradius 200 km count 0
geosearch g fromlonlat 15 37 byradius 200 km count x
geosearch g fromlonlat 15 37 byradius 200 km any
geosearch g fromlonlat 15 37 byradius 200 km foo
geosearch nosuch fromlonlat 15 37 byradius 200 km
geosearch nosuch frommember a byradius 200 km
geosearchstore d g fromlonlat 15 37 byradius 200 km storedist
geosearchstore d g fromlonlat 15 37 byradius 200 km withdist
zrange d 0 -1
geosearchstore d g fromlonlat 0 0 byradius 1 m
exists d
georadius g 15 37 200 km asc withdist
georadius g 15 37 200 km store d
georadius g 15 37 200 km storedist d
georadius g 15 37 200 km withdist store d
georadius g 15 37 200 km store
georadius_ro g 15 37 200 km store d
georadius_ro g 15 37 200 km asc count 1
georadiusbymember g palermo 200 km asc
georadiusbymember g nosuch 200 km
georadiusbymember_ro g palermo 200 km asc
georadiusbymember nosuch palermo 200 km store d
zrange d 0 -1
";

const STREAMS: &str = r"
xadd s x f v
xadd s 1-x f v
xadd s 0-0 f v
xadd s 18446744073709551616-1 f v
xadd s 1-1 f
xadd s 1-1
xadd s nomkstream 1-1 f v
xadd nosuch nomkstream 1-1 f v
xadd s 1-1 f v
xadd s 1-1 f v
xadd s 1-* f v
xadd s maxlen -1 5-1 f v
xadd s maxlen x 5-1 f v
xadd s maxlen 1 minid 1 5-1 f v
xadd s limit 5 5-1 f v
xadd s maxlen 1 limit 5 5-1 f v
xadd s maxlen ~ 1 limit -5 5-1 f v
xadd s maxlen ~ 100 limit 5 5-1 f v
xadd s minid = 5-1 6-1 f v
xadd s minid x 7-1 f v
xlen s
xtrim s maxlen
xtrim s 5
xtrim s foo 5
xtrim s limit 5
xtrim s maxlen ~ 1 limit 0
xtrim s maxlen 0
xtrim nosuch maxlen 0
xtrim s minid 9
xadd s 18446744073709551615-18446744073709551615 f v
xadd s * f v
xadd s 18446744073709551615-* f v

xadd s 1-1 a 1
xadd s 2-1 b 2
xadd s 2-2 c 3
xrange s - +
xrange s (1-1 +
xrange s (x +
xrange s - (0-0
xrange s - (2-2
xrange s (18446744073709551615-18446744073709551615 +
xrange s 2 2
xrange s 5 1
xrange s - + count 0
xrange s - + count -1
xrange s - + count x
xrange s - + foo
xrange s - + count 1 foo
xrange nosuch - +
xrevrange s + - count 2
xrevrange s + (1-1
xdel s 2-1 9-9
xdel s x
xdel nosuch 1
xsetid s 1
xsetid s x
xsetid s 9-9
xsetid s 9-9 entriesadded 1 maxdeletedid 1-1
xsetid s 9-9 entriesadded 9 maxdeletedid 10-1
xsetid s 9-9 entriesadded -1 maxdeletedid 1-1
xsetid s 9-9 entriesadded 9
xsetid s 9-9 entriesadded 9 maxdeletedid 2-1
xsetid nosuch 1
xinfo stream s
xinfo stream nosuch

xread streams s
xread count x streams s 0
xread count -1 streams s 0
xread block -1 streams s 0
xread block x streams s 0
xread group g c streams s 0
xread noack streams s 0
xread foo streams s 0
xread count 1
xread streams a b 0
xread streams s >
xread streams s x
xread streams s $
xreadgroup streams s 0
xreadgroup group g c streams s >
xadd s 1-1 a 1
xadd s 2-1 b 2
xadd s 3-1 c 3
xread count 1 streams s nosuch 1 0
xgroup create s g 0
xgroup create s g 0
xgroup create s h x
xgroup create nosuch g 0
xgroup create nosuch g $ mkstream
xgroup create s h 0 entriesread x
xgroup create s h 0 entriesread -5
xgroup create s h 1-1 entriesread 1
xgroup create s i $ foo
xgroup setid s nosuch 0
xgroup setid s h x
xgroup setid s h 0 entriesread 0
xgroup setid nosuch h 0
xgroup createconsumer s g c
xgroup createconsumer s g c
xgroup createconsumer s nosuch c
xgroup createconsumer absent g c
xgroup delconsumer s g nobody
xgroup delconsumer s nosuch c
xgroup destroy s nosuch
xgroup destroy absent g
xgroup nosuch s g
xreadgroup group g c streams s $
xreadgroup group g c streams s nosuch 0 0
xreadgroup group x c streams s >
xreadgroup group g c count 2 streams s >
xreadgroup group g c count 1 noack streams s >
xreadgroup group g c streams s >
xreadgroup group g c streams s 0
xreadgroup group g c streams s 1
xdel s 1-1
xreadgroup group g c streams s 0
xinfo consumers s g
xinfo groups s
xinfo stream s full
xinfo stream s full count 1
xinfo stream s full count 0
xinfo stream s full count x
xinfo stream s full foo
xinfo stream s foo
xinfo consumers s nosuch
xinfo groups nosuch
xinfo nosuch s
xack s g 1-1 9-9
xack s g x
xack nosuch g 1
xack s nosuch 1

xadd s 1-1 a 1
xadd s 2-1 b 2
xadd s 3-1 c 3
xadd s 4-1 d 4
xgroup create s g 0
xreadgroup group g one streams s >
xpending s g
xpending s g - + 10
xpending s g - + 10 one
xpending s g - + 10 nobody
xpending s g (1-1 3-1 10
xpending s g - + -1
xpending s g - + x
xpending s g - +
xpending s g idle 0 - + 10
xpending s g idle 100000 - + 10
xpending s g idle x - + 10
xpending s g foo
xpending s nosuch
xpending nosuch g
xclaim s g two 0 1-1
xclaim s g two 100000 2-1
xclaim s g two x 1-1
xclaim s g two 0 1-1 idle x
xclaim s g two 0 1-1 time x
xclaim s g two 0 1-1 retrycount x
xclaim s g two 0 1-1 lastid x
xclaim s g two 0 1-1 foo
xclaim s g two 0 1-1 idle 5 retrycount 7 justid
xclaim s g two 0 2-1 time -5 justid
xclaim s g two 0 2-1 time 99999999999999 justid
xclaim s g two 0 2-1 time 1000
xclaim s g two 0 9-9 force
xclaim s g two 0 3-1 lastid 9-9
xclaim s nosuch two 0 1-1
xclaim nosuch g two 0 1-1
xclaim s g two 0 foo
xdel s 1-1 3-1
xclaim s g two 0 1-1
xadd s 10-1 e 5
xclaim s g two 0 10-1 force justid
xautoclaim s g three 0 0
xautoclaim s g three 0 - count 1
xautoclaim s g three 0 - count 1 justid
xautoclaim s g three 100000 -
xautoclaim s g three x -
xautoclaim s g three 0 x
xautoclaim s g three 0 - count 0
xautoclaim s g three 0 - count x
xautoclaim s g three 0 - foo
xautoclaim s nosuch three 0 -
xautoclaim nosuch g three 0 -
xautoclaim s g three 0 (2-1 count 1
xpending s g
xgroup delconsumer s g three
xgroup destroy s g
set k v
xadd k * f v
xread streams k 0
xgroup create k g 0
xpending k g
xautoclaim k g c 0 0
";

const SCRIPTS: &str = r#"
hello 3
eval "redis.setresp(3) return redis.call('zincrby', KEYS[1], 1.5, 'a')" 1 z
eval "redis.setresp(3) return redis.call('smembers', KEYS[1])" 1 nosuch
eval "redis.call('sadd', KEYS[1], 'a') redis.setresp(3) return redis.call('smembers', KEYS[1])" 1 s
eval "redis.call('sadd', KEYS[1], 'a') redis.setresp(3) return redis.call('smembers', KEYS[1]).set.a" 1 s
eval "redis.setresp(3) return redis.call('zscore', KEYS[1], 'a').double * 2" 1 z
eval "return redis.call('zscore', KEYS[1], 'a')" 1 z
eval "return redis.call('zadd', KEYS[1], 'incr', 2.25, 'a')" 1 z
eval "return redis.call('incrbyfloat', KEYS[1], 0.5)" 1 f
eval "return {set = {a = true, b = true}}" 0
eval "return {double = 'x'}" 0
eval "return {map = 1}" 0
eval "return {[1] = 'a', [3] = 'c'}" 0
eval "return redis.call('set', KEYS[1], {})" 1 k
eval "return redis.call('set', KEYS[1], true)" 1 k
eval "return redis.call('set', KEYS[1], 1e300)" 1 k
eval "return redis.call('set', KEYS[1], -0)" 1 k
eval "return redis.call('get', KEYS[1])" 1 k
hello 2

eval "return cjson.encode('\\\\ \\b\\t\\f\\r\\n\\1\\127/\"')" 0
eval "return cjson.encode()" 0
eval "return cjson.encode(1, 2)" 0
eval "return cjson.decode()" 0
eval "return cjson.encode(print)" 0
eval "return cjson.encode({[print] = 1})" 0
eval "return cjson.encode({[true] = 1})" 0
eval "return cjson.encode(nil)" 0
eval "return cjson.encode({[1.5] = 1})" 0
eval "return cjson.encode({[-1] = 1})" 0
eval "return cjson.encode({[0] = 1})" 0
eval "return cjson.encode({[3] = 1})" 0
eval "return cjson.encode({1, 2, [20] = 3})" 0
eval "return cjson.encode({[1e20] = 'x'})" 0
eval "return cjson.encode(0 / 0)" 0
eval "return cjson.encode(1 / 0)" 0
eval "cjson.encode_invalid_numbers(true) local a = cjson.encode({0 / 0, 1 / 0}) cjson.encode_invalid_numbers(false) return a" 0
eval "local t = {} for i = 1, 2000 do t = {t} end return cjson.encode(t)" 0
eval "return cjson.decode(('['):rep(2000) .. (']'):rep(2000))" 0
eval "return {cjson.encode_max_depth(5), pcall(cjson.encode, {{{{{{}}}}}}), cjson.encode_max_depth(1000)}" 0
eval "return {cjson.decode_max_depth(2), pcall(cjson.decode, '[[[]]]'), cjson.decode_max_depth(1000)}" 0
eval "return cjson.encode_max_depth(0)" 0
eval "return {cjson.encode_number_precision(3), cjson.encode(1 / 3), cjson.encode_number_precision(14)}" 0
eval "return cjson.encode_number_precision(99)" 0
eval "return {cjson.encode_keep_buffer()}" 0
eval "return {cjson.encode_keep_buffer(true)}" 0
eval "return {cjson.decode_invalid_numbers()}" 0
eval "return {cjson.encode_sparse_array()}" 0
eval "local a = {cjson.encode_sparse_array(true, 2, 3)} a[4] = cjson.encode({[1] = 1, [9] = 2}) cjson.encode_sparse_array(false, 2, 10) return a" 0

eval "return cjson.decode(ARGV[1])" 0 '"a\"b\\c\/d\b\f\n\r\t"'
eval "return cjson.decode(ARGV[1])" 0 '"\u00e9\u20ac\ud83d\ude00"'
eval "return cjson.decode(ARGV[1])" 0 '"\ud83d"'
eval "return cjson.decode(ARGV[1])" 0 '"\ud83dx"'
eval "return cjson.decode(ARGV[1])" 0 '"\ud83d\u0041"'
eval "return cjson.decode(ARGV[1])" 0 '"\udc00"'
eval "return cjson.decode(ARGV[1])" 0 '"\u00"'
eval "return cjson.decode(ARGV[1])" 0 '"\uzzzz"'
eval "return cjson.decode(ARGV[1])" 0 '"\x"'
eval "return cjson.decode(ARGV[1])" 0 '"abc'
eval "return cjson.decode(ARGV[1])" 0 '[1, 2'
eval "return cjson.decode(ARGV[1])" 0 '[1 2]'
eval "return cjson.decode(ARGV[1])" 0 '[1,]'
eval "return cjson.decode(ARGV[1])" 0 '{1: 2}'
eval "return cjson.decode(ARGV[1])" 0 '{"a" 2}'
eval "return cjson.decode(ARGV[1])" 0 '{"a": 2 "b"}'
eval "return cjson.decode(ARGV[1])" 0 '{"a": }'
eval "return cjson.decode(ARGV[1])" 0 '{"a": ]'
eval "return cjson.decode(ARGV[1])" 0 '[}'
eval "return cjson.decode(ARGV[1])" 0 '[:]'
eval "return cjson.decode(ARGV[1])" 0 '[{]'
eval "return cjson.decode(ARGV[1])" 0 '{"a": "b" true}'
eval "return cjson.decode(ARGV[1])" 0 '{"a": "b" null}'
eval "return cjson.decode(ARGV[1])" 0 '{[: 1}'
eval "return cjson.decode(ARGV[1])" 0 '1 2'
eval "return cjson.decode(ARGV[1])" 0 '1 "a"'
eval "return cjson.decode(ARGV[1])" 0 '1 {'
eval "return cjson.decode(ARGV[1])" 0 'nul'
eval "return cjson.decode(ARGV[1])" 0 'foo'
eval "return cjson.decode(ARGV[1])" 0 '-'
eval "return cjson.decode(ARGV[1])" 0 '01'
eval "return cjson.decode(ARGV[1])" 0 '+1'
eval "return cjson.decode(ARGV[1])" 0 '.5'
eval "return cjson.decode(ARGV[1])" 0 ''
eval "return cjson.decode(ARGV[1])" 0 '   '
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[nan]'
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[inf]'
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[-infinity]'
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[0x1f]'
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[1e3]'
eval "return tostring(cjson.decode(ARGV[1])[1])" 0 '[-1.5E-3]'
eval "return tostring(cjson.decode(ARGV[1]).a.b[1])" 0 ' { "a" : { "b" : [ true , false , null ] } } '
eval "return tostring(cjson.decode(ARGV[1])[1] == cjson.null)" 0 '[null]'
eval "return cjson.decode({})" 0

eval "return struct.pack('bBhHlLT', -1, 255, -2, 65535, -3, 4, 5)" 0
eval "return {struct.unpack('bBhHlLT', struct.pack('bBhHlLT', -1, 255, -2, 65535, -3, 4, 5))}" 0
eval "return struct.pack('>fd', 1.5, -2.25)" 0
eval "return tostring(struct.unpack('>f', struct.pack('>f', 1.5)))" 0
eval "return tostring(struct.unpack('<d', struct.pack('<d', -2.25)))" 0
eval "return struct.pack('c0', 'abc')" 0
eval "return struct.pack('c2', 'abc')" 0
eval "return struct.pack('c5', 'abc')" 0
eval "return struct.pack('c3', 1)" 0
eval "return struct.pack('c3', {})" 0
eval "return struct.pack('i', 'x')" 0
eval "return struct.pack('bxxb', 1, 2)" 0
eval "return struct.pack('b b', 1, 2)" 0
eval "return struct.pack('i33', 1)" 0
eval "return struct.pack('!3i', 1)" 0
eval "return struct.pack('!64i', 1)" 0
eval "return struct.pack('=!8bi8', 1, 2)" 0
eval "return struct.pack('y', 1)" 0
eval "return struct.pack()" 0
eval "return struct.pack({})" 0
eval "return struct.pack('s', 'a\\0b')" 0
eval "return {struct.unpack('s', 'abc')}" 0
eval "return {struct.unpack('s', 'abc\\0d')}" 0
eval "return {struct.unpack('c0', 'abc')}" 0
eval "return {struct.unpack('bc0', '\\3abc')}" 0
eval "return {struct.unpack('bc0', '\\9abc')}" 0
eval "return {struct.unpack('i4', 'abc')}" 0
eval "return {struct.unpack('b', 'abc', 2)}" 0
eval "return {struct.unpack('b', 'abc', 0)}" 0
eval "return {struct.unpack('b', 'abc', 9)}" 0
eval "return {struct.unpack('b', {})}" 0
eval "return {struct.unpack('b')}" 0

eval "return cmsgpack.pack()" 0
eval "return cmsgpack.pack(nil, print, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, 4294967295, 4294967296)" 0
eval "return {cmsgpack.unpack(cmsgpack.pack(-33, -128, -129, -32768, -32769, -2147483648, -2147483649, 4294967295, 4294967296))}" 0
eval "return {cmsgpack.unpack(cmsgpack.pack(('x'):rep(31), ('x'):rep(32), ('x'):rep(256)))}" 0
eval "return #cmsgpack.unpack(cmsgpack.pack(('x'):rep(70000)))" 0
eval "local t = {} for i = 1, 70000 do t[i] = 1 end return #cmsgpack.unpack(cmsgpack.pack(t))" 0
eval "local t = {} for i = 1, 70000 do t['k' .. i] = i end return cmsgpack.unpack(cmsgpack.pack(t)).k69999" 0
eval "local t = {} for i = 1, 300 do t[i] = i end return #cmsgpack.unpack(cmsgpack.pack(t))" 0
eval "return tostring(cmsgpack.unpack('\\202\\63\\192\\0\\0'))" 0
eval "return tostring(cmsgpack.unpack(cmsgpack.pack(1.25)))" 0
eval "return cmsgpack.unpack('\\193')" 0
eval "return cmsgpack.unpack('\\217')" 0
eval "return cmsgpack.unpack('\\217\\5ab')" 0
eval "return cmsgpack.unpack('\\147\\1')" 0
eval "return cmsgpack.unpack('\\129\\1')" 0
eval "return cmsgpack.unpack('\\210\\0')" 0
eval "return cmsgpack.unpack({})" 0
eval "return cmsgpack.unpack('')" 0
eval "return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}" 0
eval "return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 1)}" 0
eval "return {cmsgpack.unpack_one('abc', 9)}" 0
eval "return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}" 0
eval "return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 1)}" 0
eval "return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0, 0)}" 0
eval "return {cmsgpack.unpack(('\\1'):rep(9000))}" 0
eval "local t = {} for i = 1, 40 do t = {t} end return #cmsgpack.pack(t)" 0
eval "return cmsgpack.pack({[1] = 1, [2.5] = 2})" 0
eval "return cmsgpack.pack({[0] = 1})" 0

eval "return {bit.arshift(-8, 1), bit.rol(1, 33), bit.ror(1, 1), bit.bnot(0), bit.bswap(1)}" 0
eval "return {bit.tohex(255, 4), bit.tohex(255, -4), bit.tohex(-1), bit.tohex(1, 0)}" 0
eval "return bit.tohex(1, 'x')" 0
eval "return bit.band()" 0
eval "return bit.bor(1, {})" 0
eval "return rawset(1, 2, 3)" 0
eval "local t = {} rawset(t, 'a', 'b') return t.a" 0
eval "return setmetatable(1, {})" 0
eval "return setmetatable({}, 1)" 0
eval "return setmetatable({}, {__index = function(_, k) return k end}).hello" 0
eval "local t = setmetatable({}, {__metatable = 'locked'}) setmetatable(t, {})" 0
eval "return tostring(getmetatable(setmetatable({}, nil)))" 0
eval "return getmetatable(setmetatable({}, {__metatable = 'locked'}))" 0
eval "error()" 0
eval "error(nil)" 0
eval "error(5)" 0
eval "error({err = 5})" 0
eval "error({err = 'CODE text', more = 1})" 0
eval "return redis.pcall('incr', KEYS[1], 'x', 'y')" 1 k
eval "return redis.error_reply(1)" 0
eval "return redis.error_reply({})" 0
eval "return redis.status_reply()" 0
eval "return redis.sha1hex({})" 0
eval "return redis.setresp()" 0
eval "return redis.setresp('x')" 0
eval "redis.log()" 0
eval "redis.log('x', 'y')" 0
eval "redis.breakpoint()" 0
eval "return redis.acl_check_cmd('get', 'k')" 0
eval "return redis.acl_check_cmd('nosuch')" 0
eval "return redis.acl_check_cmd()" 0
eval "return redis.REDIS_VERSION_NUM > 0" 0
eval "redis.set_repl(redis.REPL_ALL)" 0
eval "redis.set_repl(99)" 0
eval "return redis.replicate_commands()" 0
"#;
