local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

-- A plan that can be approved now: of the spec as it is, and not approved already.
local plan = nil
if obj.status ~= nil and obj.status.drift ~= nil and obj.status.observedGeneration == obj.metadata.generation then
  plan = obj.status.drift.planId
end
local approved = obj.metadata.annotations ~= nil and obj.metadata.annotations["inferencekey.com/approve-plan"] == plan

local approve = "Approve plan"
if plan ~= nil then
  approve = approve .. " " .. plan
end

local actions = {}
actions["approve-plan"] = {
  ["disabled"] = plan == nil or approved or suspended or deleting,
  ["displayName"] = approve,
  ["iconClass"] = "fa fa-fw fa-check"
}
actions["reconcile"] = {
  ["disabled"] = suspended or deleting,
  ["displayName"] = "Reconcile now",
  ["iconClass"] = "fa fa-fw fa-sync"
}
actions["suspend"] = {
  ["disabled"] = suspended or deleting,
  ["displayName"] = "Suspend",
  ["iconClass"] = "fa fa-fw fa-pause"
}
actions["resume"] = {
  ["disabled"] = not suspended or deleting,
  ["displayName"] = "Resume",
  ["iconClass"] = "fa fa-fw fa-play"
}
return actions
