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
with known as (
    select
        events.event_id,
        events.event_type,
        events.occurred_at,
        events.customer_id as own_customer_id,
        events.anonymous_id,
        events.product_id,
        events.url,
        events.referrer,
        events.utm_source,
        events.utm_medium,
        events.utm_campaign,
        events.device,
        events.platform,
        events.properties,
        events.value,
        events.ingested_at,
        events.first_ingested_at,
        -- A device keeps its timeline through logins; without its cookie there is the
        -- customer, and for an unknown one the sender's own session.
        {{ perennial.visitor_id('events') }} as visitor_id,
        -- What is sent to a customer is no visit.
        events.event_type not in ('email_sent', 'email_open', 'push_open') as is_visit,
        links.customer_id as first_customer_id,
        events.customer_id is not null as is_identified,
        (
            select load_began_at
            from {{ ref('first_loads') }}
            where table_name = 'events'
        ) as load_began_at
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
    cast(event_id as string) as event_id,
    cast(event_type as string) as event_type,
    cast(customer_id as string) as customer_id,
    cast(anonymous_id as string) as anonymous_id,
    cast(visitor_id as string) as visitor_id,
    -- A session is called by its first event: a name that later sessions cannot change.
    cast(first_event_id as string) as session_id,
    cast(product_id as string) as product_id,
    cast(url as string) as url,
    cast(referrer as string) as referrer,
    cast(utm_source as string) as utm_source,
    cast(utm_medium as string) as utm_medium,
    cast(utm_campaign as string) as utm_campaign,
    cast(device as string) as device,
    cast(platform as string) as platform,
    cast(properties as string) as properties,
    cast(is_visit as boolean) as is_visit,
    cast(is_identified as boolean) as is_identified,
    cast(is_session_start as boolean) as is_session_start,
    cast(value as decimal(18, 2)) as value,
    cast(occurred_at as timestamp) as occurred_at,
    cast({{ perennial.local_date('occurred_at') }} as date) as occurred_on,
    cast(ingested_at as timestamp) as ingested_at,
    cast(
        {{ perennial.known_at('occurred_at', 'first_ingested_at', 'load_began_at') }}
        as timestamp
    ) as known_at
from sessions
