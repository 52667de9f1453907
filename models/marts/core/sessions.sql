{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('events', 'visitor_id') }}
{%- endcall %}
-- How a session began is in its first event, which has the session's name.
with starts as (
    select
        session_id,
        visitor_id,
        customer_id,
        url as entry_url,
        event_type as entry_event_type,
        lower(referrer) as referrer,
        lower(utm_source) as utm_source,
        lower(utm_medium) as utm_medium,
        utm_campaign,
        device,
        platform,
        occurred_at as started_at
    from {{ ref('events') }}
    where
        is_session_start
        {{ perennial.touched_only('visitor_id', 'and') }}
),

-- Ties at the same moment go by the event's id.
counted as (
    select
        session_id,
        max(occurred_at) as ended_at,
        max(known_at) as known_at,
        max_by(url, (occurred_at, event_id)) filter (where url is not null) as exit_url,
        count(*) as n_events,
        count_if(event_type = 'page_view') as n_page_views,
        count_if(event_type = 'product_view') as n_product_views,
        count_if(event_type = 'search') as n_searches,
        count_if(event_type = 'add_to_cart') as n_cart_additions,
        count_if(event_type = 'checkout') as n_checkouts,
        count_if(event_type = 'purchase') as n_purchases,
        bool_or(event_type in ('login', 'signup')) as has_login
    from {{ ref('events') }}
    where
        is_visit
        {{ perennial.touched_only('visitor_id', 'and') }}
    group by all
)

select
    cast(starts.session_id as string) as session_id,
    cast(starts.visitor_id as string) as visitor_id,
    cast(starts.customer_id as string) as customer_id,
    cast(
        case
            when starts.utm_medium in ('email', 'newsletter') then 'email'
            when starts.utm_medium in ('push', 'sms') then starts.utm_medium
            when
                starts.utm_medium in (
                    'cpc', 'ppc', 'paid', 'ads', 'display', 'paid_social'
                )
                then 'ads'
            when starts.utm_medium in ('social', 'organic_social') then 'social'
            when starts.utm_medium in ('affiliate', 'referral') then 'referral'
            when starts.utm_medium = 'organic' then 'organic'
            when starts.utm_medium is not null then 'other'
            when starts.referrer is null then 'direct'
            when
                {{ perennial.matches(
                    'starts.referrer', '(google|bing|baidu|duckduckgo|yahoo|ecosia)[.]'
                ) }}
                then 'organic'
            when
                {{ perennial.matches(
                    'starts.referrer',
                    '(facebook|instagram|tiktok|weibo|twitter|pinterest|youtube)[.]'
                ) }}
                then 'social'
            else 'referral'
        end
        as string
    ) as channel,
    cast(starts.utm_source as string) as utm_source,
    cast(starts.utm_campaign as string) as utm_campaign,
    cast(starts.device as string) as device,
    cast(starts.platform as string) as platform,
    cast(starts.entry_event_type as string) as entry_event_type,
    cast(starts.entry_url as string) as entry_url,
    cast(counted.exit_url as string) as exit_url,
    cast(counted.has_login as boolean) as has_login,
    cast(counted.n_purchases > 0 as boolean) as has_purchase,
    cast(counted.n_events = 1 as boolean) as is_bounce,
    cast(counted.n_events as bigint) as n_events,
    cast(counted.n_page_views as bigint) as n_page_views,
    cast(counted.n_product_views as bigint) as n_product_views,
    cast(counted.n_searches as bigint) as n_searches,
    cast(counted.n_cart_additions as bigint) as n_cart_additions,
    cast(counted.n_checkouts as bigint) as n_checkouts,
    cast(counted.n_purchases as bigint) as n_purchases,
    cast(
        {{ perennial.seconds_between('starts.started_at', 'counted.ended_at') }}
        as double
    ) as duration_seconds,
    cast(starts.started_at as timestamp) as started_at,
    cast(counted.ended_at as timestamp) as ended_at,
    cast({{ perennial.local_date('starts.started_at') }} as date) as started_on,
    cast(counted.known_at as timestamp) as known_at
from starts
inner join counted
    on starts.session_id = counted.session_id
