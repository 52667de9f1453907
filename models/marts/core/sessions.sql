{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('events', 'visitor_id') }}
{%- endcall %}
-- A session has one first event, so the greatest of its values is the value. Ties at the same
-- moment go by the event's id.
with summed as (
    select
        session_id,
        max(visitor_id) as visitor_id,
        max(customer_id) as customer_id,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        max(known_at) as known_at,
        max(url) filter (where is_session_start) as entry_url,
        max_by(url, (occurred_at, event_id)) filter (where url is not null) as exit_url,
        max(event_type) filter (where is_session_start) as entry_event_type,
        max(lower(referrer)) filter (where is_session_start) as referrer,
        max(lower(utm_source)) filter (where is_session_start) as utm_source,
        max(lower(utm_medium)) filter (where is_session_start) as utm_medium,
        max(utm_campaign) filter (where is_session_start) as utm_campaign,
        max(device) filter (where is_session_start) as device,
        max(platform) filter (where is_session_start) as platform,
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
    cast(summed.session_id as string) as session_id,
    cast(summed.visitor_id as string) as visitor_id,
    cast(summed.customer_id as string) as customer_id,
    cast(
        case
            when summed.utm_medium in ('email', 'newsletter') then 'email'
            when summed.utm_medium in ('push', 'sms') then summed.utm_medium
            when
                summed.utm_medium in (
                    'cpc', 'ppc', 'paid', 'ads', 'display', 'paid_social'
                )
                then 'ads'
            when summed.utm_medium in ('social', 'organic_social') then 'social'
            when summed.utm_medium in ('affiliate', 'referral') then 'referral'
            when summed.utm_medium = 'organic' then 'organic'
            when summed.utm_medium is not null then 'other'
            when summed.referrer is null then 'direct'
            when
                {{ perennial.matches(
                    'summed.referrer', '(google|bing|baidu|duckduckgo|yahoo|ecosia)[.]'
                ) }}
                then 'organic'
            when
                {{ perennial.matches(
                    'summed.referrer',
                    '(facebook|instagram|tiktok|weibo|twitter|pinterest|youtube)[.]'
                ) }}
                then 'social'
            else 'referral'
        end
        as string
    ) as channel,
    cast(summed.utm_source as string) as utm_source,
    cast(summed.utm_campaign as string) as utm_campaign,
    cast(summed.device as string) as device,
    cast(summed.platform as string) as platform,
    cast(summed.entry_event_type as string) as entry_event_type,
    cast(summed.entry_url as string) as entry_url,
    cast(summed.exit_url as string) as exit_url,
    cast(summed.has_login as boolean) as has_login,
    cast(summed.n_purchases > 0 as boolean) as has_purchase,
    cast(summed.n_events = 1 as boolean) as is_bounce,
    cast(summed.n_events as bigint) as n_events,
    cast(summed.n_page_views as bigint) as n_page_views,
    cast(summed.n_product_views as bigint) as n_product_views,
    cast(summed.n_searches as bigint) as n_searches,
    cast(summed.n_cart_additions as bigint) as n_cart_additions,
    cast(summed.n_checkouts as bigint) as n_checkouts,
    cast(summed.n_purchases as bigint) as n_purchases,
    cast(
        {{ perennial.seconds_between('summed.started_at', 'summed.ended_at') }}
        as double
    ) as duration_seconds,
    cast(summed.started_at as timestamp) as started_at,
    cast(summed.ended_at as timestamp) as ended_at,
    cast({{ perennial.local_date('summed.started_at') }} as date) as started_on,
    cast(summed.known_at as timestamp) as known_at
from summed
