{%- call perennial.touched() %}
    select 'device:' || value as visitor_id
    from ({{ perennial.changes('checked_events', 'anonymous_id', 'value') }}) as devices
    union
    select 'customer:' || value as visitor_id
    from ({{ perennial.changes('checked_events', 'customer_id', 'value') }}) as customers
    union
    select 'session:' || value as visitor_id
    from ({{ perennial.changes('checked_events', 'session_id', 'value') }}) as sessions
    union
    select {{ perennial.visitor_id('events') }} as visitor_id
    from {{ ref('stg_events') }} as events
    where
        {{ perennial.newly_happened('events.occurred_at') }}
        or 'events' in ({{ perennial.changes('first_loads', 'table_name') }})
{%- endcall %}
{%- set timeline = 'occurred_at, event_id' -%}
{%- set rows = perennial.touched_rows(
    ref('stg_events'), 'events', perennial.visitor_id('events'), 'visitor_id'
) -%}
with devices as (
    select
        anonymous_id,
        customer_id as first_customer_id,
        n_customers_of_device > 1 as is_shared
    from {{ ref('identity_links') }}
    where is_first_of_device
),

-- On a device of several customers: who was logged in last.
logins as (
    select
        events.event_id,
        {{ perennial.last_known(
            'events.customer_id',
            'events.anonymous_id',
            'events.occurred_at, events.event_id'
        ) | indent(8) }} as last_customer_id
    from {{ rows }} as events
    inner join devices
        on
            events.anonymous_id = devices.anonymous_id
            and devices.is_shared
),

-- Before the first login on a device, who logged in first; on a device of one customer that
-- is whoever logs in at all. No more than the windows below need: they sort every row whole,
-- and events are wide.
attributed as (
    select
        events.event_id,
        events.occurred_at,
        {{ perennial.visitor_id('events') }} as visitor_id,
        {{ perennial.is_visit('events.event_type') }} as is_visit,
        coalesce(
            logins.last_customer_id, events.customer_id, devices.first_customer_id
        ) as customer_id
    from {{ rows }} as events
    left join devices
        on events.anonymous_id = devices.anonymous_id
    left join logins
        on events.event_id = logins.event_id
),

-- A session ends after the silence that the setting names, and where the customer changes.
cuts as (
    select
        *,
        is_visit and coalesce(
            {{ perennial.seconds_between(
                'lag(occurred_at) over visits', 'occurred_at'
            ) }}
            > 60 * {{ perennial.setting('session_timeout_minutes') }}
            or lag(customer_id) over visits is distinct from customer_id,
            true
        ) as is_session_start
    from attributed
    window visits as (
        partition by visitor_id, is_visit
        order by {{ timeline }}
    )
),

named as (
    select
        *,
        case
            when is_visit then {{ perennial.last_known(
                "case when is_session_start then event_id end", 'visitor_id, is_visit', timeline
            ) | indent(16) }}
        end as first_event_id
    from cuts
),

-- What comes after as_of goes last: no window looks ahead, and a comparison with as_of leaves
-- the engine guessing how many rows are left.
sessions as (
    select named.*
    from named
    cross join {{ ref('clock') }} as clock
    where named.occurred_at <= clock.as_of
)

select
    cast(events.event_id as string) as event_id,
    cast(events.event_type as string) as event_type,
    cast(sessions.customer_id as string) as customer_id,
    cast(events.anonymous_id as string) as anonymous_id,
    cast({{ perennial.visitor_id('events') }} as string) as visitor_id,
    -- A session is called by its first event: a name that later sessions cannot change.
    cast(sessions.first_event_id as string) as session_id,
    cast(events.product_id as string) as product_id,
    cast(events.url as string) as url,
    cast(events.referrer as string) as referrer,
    cast(events.utm_source as string) as utm_source,
    cast(events.utm_medium as string) as utm_medium,
    cast(events.utm_campaign as string) as utm_campaign,
    cast(events.device as string) as device,
    cast(events.platform as string) as platform,
    cast(events.properties as string) as properties,
    cast({{ perennial.is_visit('events.event_type') }} as boolean) as is_visit,
    cast(events.customer_id is not null as boolean) as is_identified,
    cast(sessions.is_session_start as boolean) as is_session_start,
    cast(events.value as decimal(18, 2)) as value,
    cast(events.occurred_at as timestamp) as occurred_at,
    cast({{ perennial.local_date('events.occurred_at') }} as date) as occurred_on,
    cast(events.ingested_at as timestamp) as ingested_at,
    cast(
        {{ perennial.known_at(
            'events.occurred_at', 'events.first_ingested_at', 'loads.load_began_at'
        ) }}
        as timestamp
    ) as known_at
from {{ rows }} as events
inner join sessions
    on events.event_id = sessions.event_id
left join {{ ref('first_loads') }} as loads
    on loads.table_name = 'events'
