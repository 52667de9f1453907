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
-- No more than the windows below need: they sort every row whole, and events are wide.
with known as (
    select
        events.event_id,
        events.occurred_at,
        events.customer_id as own_customer_id,
        -- A device keeps its timeline through logins; without its cookie there is the
        -- customer, and for an unknown one the sender's own session.
        {{ perennial.visitor_id('events') }} as visitor_id,
        {{ perennial.is_visit('events.event_type') }} as is_visit,
        links.customer_id as first_customer_id
    from {{ rows }} as events
    cross join {{ ref('clock') }} as clock
    left join {{ ref('identity_links') }} as links
        on
            events.anonymous_id = links.anonymous_id
            and links.is_first_of_device
    where events.occurred_at <= clock.as_of
),

-- Who was logged in last on the device; before the first login, who logged in first.
attributed as (
    select
        *,
        coalesce(
            {{ perennial.last_known(
                'own_customer_id', 'visitor_id', timeline
            ) | indent(12) }},
            first_customer_id
        ) as customer_id
    from known
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

sessions as (
    select
        *,
        case
            when is_visit then {{ perennial.last_known(
                "case when is_session_start then event_id end", 'visitor_id, is_visit', timeline
            ) | indent(16) }}
        end as first_event_id
    from cuts
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
